{ echo out; echo err >&2; } 2>/dev/null | cat
{ echo out; echo err >&2; } 2>&1 >/dev/null | cat
