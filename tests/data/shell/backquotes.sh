echo `echo one` "`echo "two  words"`"
echo `echo \`echo nested\``
x=`echo '$HOME'`
echo "$x"
