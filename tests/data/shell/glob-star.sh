touch a.txt b.txt c.sh .hidden
echo *.txt
echo *
echo .h*
