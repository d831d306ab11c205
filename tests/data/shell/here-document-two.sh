cat <<A; cat <<B
in a
A
in b
B
