mkdir real
ln -s real link
cd link; basename "$PWD"; cd ..
cd -P link; basename "$PWD"
