x='a b'
cat <<E
"$x" '$x' ${x:-"d"} "quoted" \\ \a
E
