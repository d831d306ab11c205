echo `echo \\$HOME_NOT_SET x`
echo "`echo \"quoted\"`"
printf '%s\n' `printf '%s' 'a\\b'`
