if false; then echo no; fi
echo $?
if true; then false; fi
echo $?
