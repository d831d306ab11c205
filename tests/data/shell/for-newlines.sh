for i in a \
  b
do
  echo $i
done
for i
in c
do echo $i; done
