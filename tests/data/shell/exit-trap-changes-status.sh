trap 'exit 4' EXIT
true
