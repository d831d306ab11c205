printf 'x 1\ny 2\n' > in
while read name value; do echo "$name=$value"; done < in
