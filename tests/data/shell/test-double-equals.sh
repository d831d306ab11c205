# beyond POSIX
[ a == a ] && echo eq
[[ abc == a* ]] && echo pattern
[[ abc == "a*" ]] || echo literal
[[ -n x && ! -z y ]] && echo both
x='a b'
[[ $x = 'a b' ]] && echo unsplit
[[ a < b || c = d ]] && echo less
