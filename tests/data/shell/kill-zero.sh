kill -0 $$ && echo alive
kill -0 999999 2>/dev/null || echo none
