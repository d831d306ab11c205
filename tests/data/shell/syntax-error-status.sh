sh -c 'if true; then' 2>/dev/null; echo $?
sh -c 'echo a; )' 2>/dev/null; echo $?
sh -c 'for' 2>/dev/null; echo $?
sh -c '"unterminated' 2>/dev/null; echo $?
