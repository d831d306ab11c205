printf 'echo one\nreturn 3\necho two\n' > lib.sh
. ./lib.sh
echo $?
