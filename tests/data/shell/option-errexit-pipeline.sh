set -e
false | true
echo one
true | false
echo never
