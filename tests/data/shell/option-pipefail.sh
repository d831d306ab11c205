# beyond POSIX
false | true; echo $?
set -o pipefail
false | true; echo $?
(exit 3) | (exit 2) | true; echo $?
