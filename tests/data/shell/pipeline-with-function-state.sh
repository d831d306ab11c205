prefix='>'
show() { while read l; do echo "$prefix $l"; done; }
printf 'a\nb\n' | show | cat
{ echo c; } | show
