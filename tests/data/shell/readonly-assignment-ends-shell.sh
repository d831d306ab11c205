readonly x=1
x=2 2>/dev/null
echo never
