printf 'a\tb\\c\n'
printf '\101\n'
printf '%b\n' 'x\ty'
printf '%s\n' 'x\ty'
