x=1
(x=2; cd /; set -f; f() { :; }; echo $x)
echo $x
type f > /dev/null 2>&1 || echo 'no f'
case $- in *f*) echo leaked ;; esac
