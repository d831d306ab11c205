i=0
while [ $i -lt 3 ]; do i=$((i + 1)); echo $i; done
while false; do :; done; echo $?
