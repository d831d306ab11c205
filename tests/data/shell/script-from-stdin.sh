# beyond POSIX
printf 'echo from stdin\nread x\nthe input\necho "<$x>"\n' | sh
printf 'echo "$1"\n' | sh -s arg
