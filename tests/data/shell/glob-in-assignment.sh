touch a b
x=*
echo "$x"
for i in *; do echo "<$i>"; done
