sleep 0 &
[ "$!" != "$$" ] && echo differs
wait
