umask 022
umask -S
