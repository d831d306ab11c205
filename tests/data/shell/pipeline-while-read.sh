seq 1 3 | while read n; do echo "n=$n"; done
