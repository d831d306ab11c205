echo() { printf 'function\n'; }
echo x
command echo x
