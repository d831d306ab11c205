printf '[%*s] [%-*s]\n' 5 a 4 b
