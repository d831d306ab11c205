{ false || echo or > out; } & wait
cat out
true && echo and > out2 & wait
cat out2
