tmp=$PWD/work
mkdir "$tmp"
cleanup() { rm -rf "$tmp"; echo cleaned; }
trap cleanup EXIT
touch "$tmp/x"
ls "$tmp"
