seq 1 50000 | while read n; do :; done; echo $?
seq 1 30000 | cat | wc -l | { read n; echo $((n)); }
