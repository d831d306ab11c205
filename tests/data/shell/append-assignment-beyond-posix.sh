# beyond POSIX
x=a
x+=b
echo $x
