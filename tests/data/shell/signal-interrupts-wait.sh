trap 'echo trapped' USR1
sleep 3 &
pid=$!
(sleep 0.1; kill -USR1 $$) &
wait $pid
echo $?
kill $pid
