x=1
cat <<E
x is $x and $((x + 1)) and $(echo sub) and \$x
  indented
E
