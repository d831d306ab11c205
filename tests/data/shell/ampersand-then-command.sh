sleep 0 & echo next
wait
