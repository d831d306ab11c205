x=$(echo a # a comment )
echo b)
echo $x
