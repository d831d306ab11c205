(sleep 0.1; touch ready) &
n=0
until [ -e ready ]; do n=$((n + 1)); [ $n -gt 200 ] && break; sleep 0.02; done
[ -e ready ] && echo ready
