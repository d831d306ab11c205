cat > entry.sh <<'E'
#!/bin/sh
set -e
if [ "${1#-}" != "$1" ]; then
  set -- server "$@"
fi
if [ "$1" = server ] && [ "${MODE:-prod}" = prod ]; then
  shift
  set -- echo running "$@"
fi
exec "$@"
E
sh entry.sh -p 80
sh entry.sh server x
sh entry.sh echo other
MODE=dev sh entry.sh echo dev
