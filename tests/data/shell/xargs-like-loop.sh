set --
for f in a b c; do set -- "$@" "$f.txt"; done
echo "$@" $#
