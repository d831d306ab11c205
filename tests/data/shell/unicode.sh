x='grüße'
echo "$x" ${x%e} ${x#gr}
