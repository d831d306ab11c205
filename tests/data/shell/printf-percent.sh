printf '100%%\n'
printf '%c%c\n' abc d
