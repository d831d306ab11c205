# beyond POSIX
x=3
((x > 2)) && echo big
((x == 2)) || echo other
let 'y = x * 2' z=y+1
echo $y $z
let 0 || echo zero
