{ echo a; echo b; } | { read x; read y; echo "$y $x"; }
for i in 1 2 3; do echo $i; done | while read n; do echo $((n * 2)); done | cat
