echo gone > /dev/null
cat /dev/null
echo x 2> /dev/null
