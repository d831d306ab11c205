x='v w'
echo "a  b" "$x" "\$x" "\"" "`echo cmd`"
printf '%s\n' "\\" "a\b"
