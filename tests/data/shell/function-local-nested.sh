f() { local x=1; g; echo "f $x"; }
g() { x=2; local x=3; echo "g $x"; }
x=0
f
echo "top $x"
