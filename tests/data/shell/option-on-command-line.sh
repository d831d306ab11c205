sh -e -c 'false; echo no'; echo $?
sh -ec 'false; echo no'; echo $?
sh -c 'echo "$0 $1 $#"' name a b
sh -u -c 'echo ${x-unset}'
