sh -c 'kill -KILL $$'; echo $?
sh -c 'kill -HUP $$'; echo $?
