while break; do echo no; done
echo $?
