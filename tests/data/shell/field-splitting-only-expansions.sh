IFS=x
for w in axb; do echo "<$w>"; done
y=axb
for w in $y; do echo "<$w>"; done
