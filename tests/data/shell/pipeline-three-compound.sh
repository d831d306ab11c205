{ echo 1; echo 2; } | { while read n; do echo $((n + 1)); done; } | { while read n; do echo "<$n>"; done; }
