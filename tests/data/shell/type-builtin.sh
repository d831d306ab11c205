type cd > /dev/null && echo found
type no-such-thing > /dev/null 2>&1 || echo missing
f() { :; }
type f | head -n 1 > /dev/null && echo function
