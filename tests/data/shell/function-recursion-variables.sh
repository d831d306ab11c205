count() { [ $1 -gt 0 ] || return 0; n=$((n + 1)); count $(($1 - 1)); }
n=0
count 50
echo $n
