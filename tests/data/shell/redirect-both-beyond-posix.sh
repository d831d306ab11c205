# beyond POSIX
f() { echo out; echo err >&2; }
f &> both
cat both
