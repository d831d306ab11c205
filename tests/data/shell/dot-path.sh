mkdir bin
echo 'echo found' > bin/lib.sh
PATH=$PWD/bin:$PATH
. lib.sh
