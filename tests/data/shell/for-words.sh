for i in a "b c" d\ e; do echo "<$i>"; done
for i in; do echo no; done
echo $?
