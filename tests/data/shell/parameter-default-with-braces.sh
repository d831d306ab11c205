unset x
echo "${x:-{}}"
echo ${x:-'}'} "${x:-\}}"
