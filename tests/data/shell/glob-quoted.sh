touch a b
echo '*' "*" \*
x='*'
echo "$x"
echo $x
