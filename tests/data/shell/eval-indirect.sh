name=var
eval "$name=value"
eval "echo \$$name"
