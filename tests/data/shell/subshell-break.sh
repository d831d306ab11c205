for i in 1 2; do (break); echo $i; done
