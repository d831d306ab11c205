a=3 b=4
echo $((a * b)) $(($a * $b)) $((${a} + b)) $((unset_one + 1))
c='1 + 2'
echo $(($c * 2))
