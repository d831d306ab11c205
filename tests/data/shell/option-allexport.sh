set -a
x=1
sh -c 'echo $x'
set +a
y=2
sh -c 'echo ${y-none}'
