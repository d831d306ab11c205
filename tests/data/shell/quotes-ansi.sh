# beyond POSIX
echo $'a\tb\n\'c\x41'
