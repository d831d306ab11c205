pwd() { echo mine; }
pwd
unset -f pwd
[ "$(pwd)" = "$PWD" ] && echo real
