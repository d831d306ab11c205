no-such-command 2>/dev/null
echo $?
