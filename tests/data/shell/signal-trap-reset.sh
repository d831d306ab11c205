trap 'echo no' TERM
trap - TERM
sh -c 'trap "echo t" TERM; trap - TERM; kill -TERM $$; echo no'
echo $?
