touch old; sleep 0.02; touch new; ln old same 2>/dev/null || cp old same
[ new -nt old ] && echo newer
[ old -ot new ] && echo older
[ old -ef old ] && echo identical
[ old -ef new ] || echo different
