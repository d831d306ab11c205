x=/usr/local/lib/file.tar.gz
echo ${x%.gz} ${x%.*} ${x%%.*} ${x%/*} ${x%%/*}x
