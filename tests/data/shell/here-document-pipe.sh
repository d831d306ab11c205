cat <<E | while read l; do echo "<$l>"; done
one
two
E
