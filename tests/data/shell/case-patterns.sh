for x in abc b.c xyz '*' 'a b' ''; do
  case $x in
    a*) echo "$x: starts with a" ;;
    *.c) echo "$x: c file" ;;
    [x-z]??) echo "$x: three from x" ;;
    '*') echo "star" ;;
    '') echo empty ;;
    *) echo "other $x" ;;
  esac
done
