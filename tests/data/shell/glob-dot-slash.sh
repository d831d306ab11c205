touch x y
echo ./*
