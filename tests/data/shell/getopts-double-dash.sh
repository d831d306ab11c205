set -- -a -- -b
while getopts ab o; do echo $o; done
shift $((OPTIND - 1))
echo "$@"
