trap '' TERM
kill -TERM $$
echo alive
sh -c 'kill -TERM $$; echo child alive too'
