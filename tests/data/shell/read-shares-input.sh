printf '1\n2\n3\n4\n' | { read a; read b; echo $a $b; cat; }
