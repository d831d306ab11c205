# beyond POSIX
echo $LINENO

echo $LINENO
