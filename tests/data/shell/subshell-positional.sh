set -- a b
(shift; echo $1)
echo $1
