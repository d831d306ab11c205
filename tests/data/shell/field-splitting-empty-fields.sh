e=
set -- $e "$e" '' a"$e"
echo $#
