echo a > f; echo b >> f
cat < f
> empty; cat empty
cat f > g; cat g
