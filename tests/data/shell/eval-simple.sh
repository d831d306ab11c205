x='echo $y'
y=1
eval $x
eval 'y=2; echo $y'
eval "echo a" "b"
eval; echo $?
