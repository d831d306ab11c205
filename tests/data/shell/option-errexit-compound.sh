set -e
{ false && true; }
echo one
if true; then false && true; fi
echo two
f() { false && true; }
f
echo never
