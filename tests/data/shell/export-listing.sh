export ZVAR="two words" 
export -p > list
while read -r line; do case $line in *ZVAR*) echo "$line" ;; esac; done < list
