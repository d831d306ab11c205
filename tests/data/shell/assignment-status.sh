x=$(false); echo $?
x=$(exit 3) y=1; echo $?
x=1; echo $?
false; x=1; echo $?
