# beyond POSIX
echo abcdef | { read -n 3 x; echo $x; }
printf 'a;b' | { read -d ';' x; echo $x; }
read -t 0.05 x < /dev/null; [ $? -ne 0 ] && echo failed
