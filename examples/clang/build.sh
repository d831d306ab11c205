#!/bin/sh
# Unpacks Clang, its linker and its C and C++ libraries, all WebAssembly, into target/examples/clang/usr.
# Needs npm; downloads the package @yowasp/clang (105 MB unpacked). The image is husk's own busybox:
# the pod mounts Clang from this folder.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=$here/../../target/examples/clang
package=$build/node_modules/@yowasp/clang/gen
mkdir -p "$build"

if [ ! -f "$package/llvm.core.wasm" ]; then
    npm install --silent --no-audit --no-fund --prefix "$build" @yowasp/clang@22.0.0-git20542-10
fi

# One program with many names, as LLVM's multi-call binary is; the JavaScript of the package is not needed.
rm -rf "$build/usr"
mkdir -p "$build/usr/bin"
tar -xf "$package/llvm-resources.tar" -C "$build/usr"
cp "$package/llvm.core.wasm" "$build/usr/bin/llvm"
chmod 755 "$build/usr/bin/llvm"
for name in clang clang++ wasm-ld ar nm objdump; do
    ln -s llvm "$build/usr/bin/$name"
done
