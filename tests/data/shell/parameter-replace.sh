# beyond POSIX
x=banana
echo ${x/an/AN} ${x//an/AN} ${x/#ba/X} ${x/%na/Y} ${x//a}
echo ${x/b*n/Z} "${x//a/ }"
y=a/b/c
echo ${y//\//-}
