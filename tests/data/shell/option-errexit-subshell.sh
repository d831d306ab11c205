set -e
(false; echo no) || echo caught
(exit 0)
(false)
echo never
