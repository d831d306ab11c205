mkdir -p d1 d2
touch d1/x d2/x d2/y
echo */x
echo */
echo d?/*
