(echo a; (echo b; (echo c; exit 3); echo $?); echo d)
