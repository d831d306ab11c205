set -u
echo "${x:-default}" "${x+no}" "${x=assigned}" "$x"
