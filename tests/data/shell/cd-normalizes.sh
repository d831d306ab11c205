mkdir -p a/b
cd ./a/../a/./b/
basename "$PWD"
cd ../..
[ -d a ] && echo back
