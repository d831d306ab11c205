set -e
x=$(echo a; false; echo b) || echo "failed <$x>"
echo $(false) still
x=$(false)
echo never
