set -- -abval -c x y
while getopts ab:c o; do echo "$o ${OPTARG-none}"; done
shift $((OPTIND - 1))
echo "$@"
