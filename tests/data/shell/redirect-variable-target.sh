n=file
echo x > $n.txt
echo y > "$n two"
ls
