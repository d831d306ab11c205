mkdir bin
printf '#!/bin/sh\necho "tool $*"\n' > bin/tool
chmod +x bin/tool 2>/dev/null
PATH=$PWD/bin:$PATH
tool a b
