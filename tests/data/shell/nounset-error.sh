set -u
echo ${x-fine}
echo "$#" "$@"
echo $undefined
echo never
