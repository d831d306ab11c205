for i in 1 2; do break 9; done
echo after
while true; do while true; do break 2; done; echo no; done
echo end
