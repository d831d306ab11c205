echo one > f
set -C
echo two 2>/dev/null > f || echo refused
cat f
echo three >| f
cat f
