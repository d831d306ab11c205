unset x y
z=deep
echo ${x:-${y:-$z}} ${x:-$(echo cmd)} "${x:-"quoted $z"}"
