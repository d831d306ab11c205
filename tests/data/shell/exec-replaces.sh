echo one
exec sh -c 'echo two; exit 5'
echo never
