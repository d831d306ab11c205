[ 1 -eq 1 ] && [ 1 -ne 2 ] && [ 1 -lt 2 ] && [ 2 -le 2 ] && [ 3 -gt 2 ] && [ 3 -ge 3 ] && echo all
[ -5 -lt 3 ] && echo negative
[ 010 -eq 10 ] && echo decimal
[ a -eq 1 ] 2>/dev/null; echo $?
