alias b='two words' a=one
alias
alias a
