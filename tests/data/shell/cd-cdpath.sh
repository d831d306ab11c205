mkdir -p a/b
CDPATH=$PWD/a
cd b > out.txt
basename "$PWD"
