echo x > /no/such/dir/f 2>/dev/null || echo failed
cat < no-such-file 2>/dev/null || echo failed
: < no-such-file 2>/dev/null
echo never
