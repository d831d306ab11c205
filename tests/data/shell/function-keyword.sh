# beyond POSIX
function f { echo "f $1"; }
function g() { echo "g $1"; }
f 1; g 2
