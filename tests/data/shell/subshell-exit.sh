(exit 4)
echo $?
(false)
echo $?
