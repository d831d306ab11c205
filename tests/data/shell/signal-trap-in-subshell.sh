trap 'echo parent' TERM
(trap 'echo child; exit 0' TERM; sh -c 'kill -TERM $PPID'; sleep 0.1) &
wait $!
echo done
