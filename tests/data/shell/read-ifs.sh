echo 'a:b::c' | { IFS=: read x y z; echo "$x|$y|$z"; }
echo ' a  b c ' | { read x y; echo "[$x] [$y]"; }
echo 'a,b,' | { IFS=, read x y; echo "[$x] [$y]"; }
