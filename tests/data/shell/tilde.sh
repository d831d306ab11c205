HOME=/my/home
echo ~ ~/x "~" '~' a~ \~
x=~/y; echo $x
PATHS=~/a:~/b; echo $PATHS
echo ${z:-~/d}
