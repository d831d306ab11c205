printf '%d %i %u\n' 5 -3 7
printf '%05d|%5d|%-5d|%+d\n' 42 42 42 42
printf '%x %X %o %#x\n' 255 255 8 255
printf '%d\n' 0x10 010 "'A"
