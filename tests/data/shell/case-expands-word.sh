f() { case "$1" in -h | --help) echo help ;; --*=*) echo "${1%%=*} ${1#*=}" ;; -*) echo "option $1" ;; *) echo "word $1" ;; esac; }
f -h; f --name=value; f -x; f y
