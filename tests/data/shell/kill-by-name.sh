sleep 5 &
kill -INT $! 2>/dev/null; kill -s TERM $!
wait $!
echo $?
