unset x
set -- ${x:-a b c}
echo $#
set -- "${x:-a b c}"
echo $#
set -- ${x:-"a b" c}
echo $#
