(echo ${x?is missing}) 2>/dev/null
echo after subshell
x=
(echo "[${x?no}]")
: ${x:?empty} 2>/dev/null
echo never
