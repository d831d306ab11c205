alias foo='echo foo'; foo 2>/dev/null || echo 'not yet'
foo
