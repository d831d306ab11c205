echo ~no-such-user-here/x
