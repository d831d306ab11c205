f=archive.tar.gz
ext=.gz
echo ${f%$ext} ${f%"${f#*.}"}
