a_1=x _b=y A2=z
echo $a_1 $_b $A2
1a=x 2>/dev/null; echo $?
