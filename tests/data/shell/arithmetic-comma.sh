# beyond POSIX
echo $((1, 2, 3)) $((x = 4, x + 1))
