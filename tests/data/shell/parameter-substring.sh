# beyond POSIX
x=abcdef
echo ${x:2} ${x:1:3} ${x:0:1} ${x: -2} "[${x:9}]"
n=2
echo ${x:n:2} ${x:$n+1}
