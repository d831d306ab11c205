echo 'a b c' | { read x y; echo $y; }
pwd | { read d; [ "$d" = "$PWD" ] && echo same; }
