IFS=: read a b <<E
one:two
E
echo "$a-$b"
echo "a b" | { read x y; echo "$x-$y"; }
