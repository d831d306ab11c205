f() { echo "$# $1 $2"; shift; echo "$# $1"; }
set -- outer
f a b c
echo $1
