for i in 1 2; do
  for j in a b c; do
    [ $j = b ] && continue 2
    echo $i$j
  done
done
for i in 1 2; do for j in a b; do echo $i$j; break 2; done; done
