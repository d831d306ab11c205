command . ./does-not-exist 2>/dev/null
echo "still here $?"
