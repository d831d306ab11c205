x=1
echo a'b'"c"\d$x"$x"'$x'
