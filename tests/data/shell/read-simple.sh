printf 'one two three\nnext\n' > in
{ read a b; echo "$a|$b"; read c; echo $c; } < in
