if true
then
  echo a

  echo b
fi
while false
do :
done
{
  echo c
}
