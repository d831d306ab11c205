true && echo one
false && echo no
false || echo two
true || echo no
true && false || echo three
false || true && echo four
