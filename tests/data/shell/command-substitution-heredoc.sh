x=$(cat <<E
line one
line two
E
)
echo "$x"
