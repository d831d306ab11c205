printf '%s=%s\n' a 1 b 2
printf 'x\n' a b
