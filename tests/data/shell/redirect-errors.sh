{ echo out; echo err >&2; } > f 2>&1
cat f
ls no-such-file 2> e; [ -s e ] && echo 'has error'
