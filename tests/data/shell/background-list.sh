{ echo a; echo b; } > out &
wait $!
cat out
