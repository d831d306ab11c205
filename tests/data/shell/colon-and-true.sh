: a b; echo $?
true x; echo $?
false; echo $?
