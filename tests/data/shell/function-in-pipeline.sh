f() { while read l; do echo "<$l>"; done; }
printf 'a\nb\n' | f
g() { echo from g; }
g | cat
