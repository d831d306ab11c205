PATH=${0%/*}/bin:$PATH
tool a b
