exec 3>&1 >out
echo hidden
exec >&3 3>&-
echo shown
cat out
