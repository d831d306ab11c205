echo *.none
echo [z]*
