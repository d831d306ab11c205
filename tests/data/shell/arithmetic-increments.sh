# beyond POSIX
x=5
echo $((x++)) $x $((++x)) $x $((x--)) $x $((--x)) $x
