touch f; mkdir d; echo x > g; ln -s f l
[ -e f ] && [ -f f ] && [ -d d ] && [ -s g ] && [ -L l ] && [ -h l ] && echo all
[ -e no ] || [ -f d ] || [ -d f ] || [ -s f ] || echo none
[ -r f ] && [ -w f ] && echo rw
[ -c /dev/null ] && echo char
