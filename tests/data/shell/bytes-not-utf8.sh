x=$(printf 'a\377b')
printf '%s' "$x" | wc -c | { read n; echo $((n)); }
case $x in a?b) echo one ;; esac
printf 'a\377b\n' | { read y; [ "$x" = "$y" ] && echo same; }
