printf '  lead and trail  \n' > in
IFS= read -r x < in
echo "[$x]"
read -r x < in
echo "[$x]"
