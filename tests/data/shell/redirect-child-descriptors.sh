exec 5> f
sh -c 'echo from child >&5'
exec 5>&-
cat f
