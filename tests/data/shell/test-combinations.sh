[ a = a -a b = b ] && echo and
[ a = b -o b = b ] && echo or
[ ! a = b ] && echo not
[ \( a = b \) -o x ] && echo paren
test -n a && echo test
