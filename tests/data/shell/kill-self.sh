sh -c 'kill -TERM $$; echo no'
echo $?
sh -c 'kill -9 $$'
echo $?
