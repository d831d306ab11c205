f() { eval 'return 4'; echo no; }
f; echo $?
