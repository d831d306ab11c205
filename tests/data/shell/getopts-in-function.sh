f() { OPTIND=1; while getopts x:y o; do case $o in x) echo "x=$OPTARG" ;; y) echo y ;; esac; done; }
f -x 1 -y
f -y -x2
