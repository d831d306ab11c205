case x in y) echo no ;; esac
echo $?
false
case x in x) ;; esac
echo $?
