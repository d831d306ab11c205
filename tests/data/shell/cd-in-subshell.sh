mkdir d
(cd d && touch f)
ls d
ls
