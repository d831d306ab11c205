set -e
f() { false; echo "in f"; }
f || echo "after f"
if f; then echo ok; fi
f
echo never
