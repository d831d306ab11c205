for c in a 5 - ] Z _; do
  case $c in
    [0-9]) echo "$c digit" ;;
    [!a-zA-Z0-9_-]) echo "$c other" ;;
    [[:upper:]]) echo "$c upper" ;;
    [a-z]) echo "$c lower" ;;
    *) echo "$c rest" ;;
  esac
done
