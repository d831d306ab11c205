f() (x=2; echo sub)
x=1; f; echo $x
g() if true; then echo if; fi
g
h() for i in 1 2; do echo $i; done
h
