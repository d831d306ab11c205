cat 3<<E <&3
via three
E
