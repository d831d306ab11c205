if true; then echo in if; fi > f
{ echo group; } >> f
(echo sub) >> f
while true; do echo loop; break; done >> f
case x in x) echo case ;; esac >> f
cat f
