unset x
echo "[${x+a}]" "[${x:+b}]"
x=
echo "[${x+a}]" "[${x:+b}]"
x=v
echo ${x+a} ${x:+b}
