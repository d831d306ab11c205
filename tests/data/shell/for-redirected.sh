for i in 1 2 3; do echo $i; done > out
cat out
for i in 1; do read x; echo $x; done < out
