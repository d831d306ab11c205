echo one \
  two
ec\
ho three
x="a\
b"; echo $x
echo 'a\
b'
