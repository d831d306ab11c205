f() { if [ $1 = 1 ]; then echo one; elif [ $1 = 2 ]; then echo two; else echo other; fi; }
f 1; f 2; f 3
