set -- a 'b c' d
echo $# "$2"
set x y
echo $1
set --
echo $#
