yes | head -n 2
while :; do echo y; done | head -n 1
