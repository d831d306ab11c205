set -- '' "" a'' ''b
echo $#
