echo $(exit 3) $?
x=$(exit 4); echo $?
if x=$(false); then echo yes; else echo no; fi
