#!/bin/sh
# Compiles SQLite's command-line shell to a WebAssembly module (WASI 0.1) and imports it as localhost/sqlite3:latest.
# Needs npm, and Python 3 with pip; downloads SQLite's source, as the npm package sqlite3 carries it, into
# target/examples/sqlite, and the Zig toolchain, whose C compiler it uses, into target/examples/c.
# HUSK names the husk to import with, if it is not the one on PATH.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$here/../../target/examples/sqlite
zig=$here/../../target/examples/c
mkdir -p "$build" "$zig"

if [ ! -f "$build/source/shell.c" ]; then
    (cd "$build" && npm pack --silent sqlite3@6.0.1 && tar -xzf sqlite3-6.0.1.tgz)
    mkdir -p "$build/source"
    tar -xzf "$build"/package/deps/sqlite-autoconf-*.tar.gz --strip-components=1 -C "$build/source"
fi

if [ ! -x "$zig/venv/bin/python" ] || ! "$zig/venv/bin/python" -c 'import ziglang' 2>/dev/null; then
    python3 -m venv "$zig/venv"
    "$zig/venv/bin/pip" install --quiet ziglang==0.17.0
fi

# What WASI 0.1 has not: threads, shared libraries, other processes. SQLITE_WASI keeps the shell from asking for them.
ZIG_GLOBAL_CACHE_DIR=$zig/cache ZIG_LOCAL_CACHE_DIR=$zig/cache \
    "$zig/venv/bin/python" -m ziglang cc -target wasm32-wasi -O2 -s -o "$build/sqlite3.wasm" \
    -DSQLITE_WASI=1 -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_POPEN -DSQLITE_NOHAVE_SYSTEM \
    -DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_ENABLE_FTS5 \
    -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_GETPID \
    "$build/source/shell.c" "$build/source/sqlite3.c" \
    -lwasi-emulated-signal -lwasi-emulated-process-clocks -lwasi-emulated-getpid
"${HUSK:-husk}" image import "$build/sqlite3.wasm" localhost/sqlite3:latest
