f() {
  cat <<E
arg $1
E
}
f x
f y
