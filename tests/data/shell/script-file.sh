printf 'echo "$# $1"\nexit 3\n' > s.sh
sh s.sh a b
echo $?
sh ./no-such.sh 2>/dev/null || echo missing
