x=1
export x y=2
sh -c 'echo $x $y'
unset x
sh -c 'echo ${x-unset}'
