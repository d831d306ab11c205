echo 'x=from-file; f() { echo called $1; }' > lib.sh
. ./lib.sh
echo $x
f 1
