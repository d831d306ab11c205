x='a*b*c'
echo "${x%'*'*}" "${x%%'*'*}" "${x#*'*'}"
p='*'
echo ${x%"$p"c} ${x%%$p}end
