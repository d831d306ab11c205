mkdir d; touch d/one d/two
echo "$PWD"/d/* | { read a b; basename "$a"; basename "$b"; }
