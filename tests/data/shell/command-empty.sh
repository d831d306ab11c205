x=
$x
echo $?
$x echo words follow
