mkdir d
base=$PWD
cd d
[ "$(cd -)" = "$base" ] && echo same
