x='a b'
for w in 1$x'2'; do echo "<$w>"; done
for w in "1$x"$x; do echo "<$w>"; done
