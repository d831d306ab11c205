echo "outer $(echo "inner $(echo "deepest 'x'")")"
x="$(printf '%s\n' "a b" 'c"d')"
echo "$x"
