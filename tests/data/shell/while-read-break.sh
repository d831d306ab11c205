seq 1 100 | while read n; do [ $n -gt 3 ] && break; echo $n; done
echo $?
