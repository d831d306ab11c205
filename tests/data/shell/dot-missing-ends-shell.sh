echo before
. ./no-such-file 2>/dev/null
echo after
