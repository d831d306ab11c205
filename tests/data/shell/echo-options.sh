echo -n a; echo b
echo - x
echo -x y
echo
