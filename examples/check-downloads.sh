#!/bin/sh
# Builds the examples that need a download and checks that their pods do what they should. `cargo test` does not run
# this. HUSK names the husk to run, if it is not the one on PATH. CLANG=1 has the clang example checked too, which takes
# minutes and 2 GB of memory the first time. Images and code go to target/examples.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
HUSK=${HUSK:-husk}
HUSK_DATA_DIR=$here/../target/examples/data
HUSK_CACHE_DIR=$here/../target/examples/cache
export HUSK HUSK_DATA_DIR HUSK_CACHE_DIR

check() { # check EXAMPLE LINE
    sh "$here/$1/build.sh" >&2
    printed=$(cd "$here/.." && "$HUSK" run --timeout 15m "$here/$1/pod.yaml")
    case $printed in
        *"$2"*) echo "ok: $1" ;;
        *) printf 'not ok: %s: no "%s" in:\n%s\n' "$1" "$2" "$printed"; exit 1 ;;
    esac
}

check c "argument 3: manifest"
check cpython "client | Hello from CPython"
check go "start 1"
check sqlite "query | Saturn|274"
check wasi-http "client  | stream started 5"
check javascript "Hello from JavaScript at javascript"
if [ -n "${CLANG:-}" ]; then
    check clang "Hello, reader, from C compiled by Clang"
else
    echo "not run here: clang: takes minutes the first time; CLANG=1 runs it"
fi
