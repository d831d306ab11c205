exec 3>out
echo to three >&3
exec 3>&-
cat out
