umask 022
umask
umask -S
umask 027; : > f; mkdir d
umask g+w,o=rx; umask
(umask 077; umask; : > own)
umask; sh -c 'umask; : > child'
umask u=rwx,g=,o=; umask
for f in f d own child; do ls -ld $f | cut -c1-10; done
