{ echo no >&3; } 3>&- 2>/dev/null || echo failed
exec 3>&1; echo x >&3; exec 3>&-
