# beyond POSIX
echo -e 'a\tb\nc'
echo -e 'octal \0101 hex \x41 end\c'
echo
echo 'plain \t stays'
echo -ne 'x\n'
