trap 'echo "a b"' INT TERM
trap '' HUP
trap
