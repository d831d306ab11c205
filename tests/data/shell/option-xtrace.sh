set -x
echo a "b c" > /dev/null
x=1
set +x
echo end
