echo first
fi
echo never
