# beyond POSIX
cat <<< "a  b"
x='1 2'
read a b <<< $x
echo $b $a
