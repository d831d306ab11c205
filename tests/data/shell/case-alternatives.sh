for x in one two three; do
  case $x in
    one | two) echo small ;;
    (three) echo three
  esac
done
