trap 'echo stopping; exit 0' TERM
(sleep 0.1; kill -TERM $$) &
while true; do sleep 0.05; done
