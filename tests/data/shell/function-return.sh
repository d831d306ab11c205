f() { return 5; echo no; }
f; echo $?
g() { false; return; }
g; echo $?
h() { for i in 1 2; do return $i; done; }
h; echo $?
