f() { local x=inner y; y=2; echo $x $y; }
x=outer y=1
f
echo $x $y
