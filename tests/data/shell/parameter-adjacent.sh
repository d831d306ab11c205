x=a
echo ${x}b $x-b "$x"b $x$x ${x}_${x}
