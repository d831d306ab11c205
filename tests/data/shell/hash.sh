hash cat; echo $?
hash -r; echo $?
hash no-such-thing 2>/dev/null; echo $?
