f() { g; }
g() { echo late; }
f
