printf '%s\n' a b c
printf '%s-%s\n' a b c
printf '[%5s] [%-5s] [%.2s]\n' ab ab abc
printf 'no newline'; printf '\n'
