f() { sleep 0.05; echo "$1" > "f$1"; }
f 1 &
f 2 &
wait
cat f1 f2
