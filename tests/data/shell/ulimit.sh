ulimit -c > /dev/null; echo $?
