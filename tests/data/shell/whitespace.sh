	echo	tab   spaces	
  echo leading
