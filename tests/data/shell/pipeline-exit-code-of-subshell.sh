sh -c 'exit 7' | cat; echo $?
cat /dev/null | sh -c 'exit 7'; echo $?
