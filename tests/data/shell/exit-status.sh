(exit 7); echo $?
sh -c 'exit 300'; echo $?
sh -c 'false; exit'; echo $?
exit 9
