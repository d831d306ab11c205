true | false; echo $?
false | true; echo $?
(exit 3) | (exit 4); echo $?
! true | false; echo $?
