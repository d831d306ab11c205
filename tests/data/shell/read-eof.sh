printf 'no newline' > in
{ read x; echo $? "$x"; read x; echo $? "[$x]"; } < in
