x=hello
echo ${#x} ${#unset_one}
set -- a b c
echo ${#} ${#1}
