[ ! ] && echo bang
[ -n ] && echo dash-n
[ -f = -f ] && echo equal
[ '(' = '(' ] && echo parens
[ ! = ! ] && echo bangs
