cat <<-E
	one
		two
	E
echo end
