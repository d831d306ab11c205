cat <<E
E
echo done
