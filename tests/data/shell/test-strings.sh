[ a = a ] && echo eq
[ a != b ] && echo ne
[ -n x ] && echo n
[ -z '' ] && echo z
[ x ] && echo nonempty
[ '' ] || echo empty
[ ] || echo nothing
