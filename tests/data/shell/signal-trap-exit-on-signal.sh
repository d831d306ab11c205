sh -c 'trap "echo bye" EXIT; trap "exit 7" TERM; kill -TERM $$; echo no'
echo $?
