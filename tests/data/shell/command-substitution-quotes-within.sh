echo "$(echo "a \"b\" c")" "$(echo ')')"
echo $(echo \) ')' "(")
