echo {a,b} } {
{ echo grouped; }
