v='a b  c'
export x=$v
echo "$x"
