x=$(case a in a) echo one;; b) echo two;; esac)
echo $x
y=$(case a in (a) echo three;; esac)
echo $y
