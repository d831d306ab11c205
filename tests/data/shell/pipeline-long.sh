seq 1 10 | cat | cat | cat | tail -n 2 | head -n 1
