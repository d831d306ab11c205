set -- x 'y z'
for i do echo "<$i>"; done
for i; do echo "[$i]"; done
f() { for a in "$@"; do echo "($a)"; done; }
f 1 '2 3'
