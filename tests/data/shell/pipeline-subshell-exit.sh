echo x | { read y; exit 3; }
echo $?
