f() { echo out; echo err >&2; } > f.out 2>&1
f
cat f.out
