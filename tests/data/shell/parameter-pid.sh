[ "$$" = "$(echo $$)" ] && echo same
(echo $$) > f
[ "$(cat f)" = $$ ] && echo same in subshell
