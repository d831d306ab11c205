PATH=
no-such 2>/dev/null
echo $?
echo builtin works
