command -v cd
command -v if
f() { :; }
command -v f
command -v no-such-command; echo $?
