alias hi='echo hello'
hi world
unalias hi
hi 2>/dev/null || echo gone
