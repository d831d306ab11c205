printf 'a\\tb\\\nc\n' > in
read x < in; printf '%s\n' "$x"
read -r x < in; printf '%s\n' "$x"
