if ! false; then echo yes; fi
! true; echo $?
! false; echo $?
