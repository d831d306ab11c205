x=1
cat <<'E'
x is $x `no` $(no) \n
E
cat <<\E
also $x
E
