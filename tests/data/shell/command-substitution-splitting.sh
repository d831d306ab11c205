x='$(echo no)'
for w in $(echo a b; echo c); do echo "<$w>"; done
for w in "$(echo a b; echo c)"; do echo "<$w>"; done
echo "$x"
