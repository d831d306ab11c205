printf 'echo ran\n' > f
test -x f && echo x || echo no x
chmod +x f; test -x f && echo x; ./f
test -r f -a -w f && echo rw
test -x . && echo folder
chmod -x f; ./f; echo $?
mkdir bin1 bin2; printf 'echo one\n' > bin1/tool; printf 'echo two\n' > bin2/tool; chmod 755 bin2/tool
PATH=$PWD/bin1:$PWD/bin2:$PATH
tool
