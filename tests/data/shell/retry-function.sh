attempt=0
try() { attempt=$((attempt + 1)); [ $attempt -ge 3 ]; }
retry() { n=$1; shift; while ! "$@"; do n=$((n - 1)); [ $n -gt 0 ] || return 1; echo "retry"; done; }
retry 5 try && echo "worked after $attempt"
