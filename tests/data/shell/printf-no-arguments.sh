printf '[%s] [%d]\n'
