sh -n -c 'echo no; foo'
echo $?
