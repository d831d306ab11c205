cd /no/such/directory 2>/dev/null
echo $?
touch file
cd file 2>/dev/null || echo 'not a directory'
