x=/usr/local/lib/file.tar.gz
echo ${x#/} ${x#*/} ${x##*/} ${x#nomatch}
echo ${x#"/usr"} ${x##*.}
