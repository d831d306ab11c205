"${0%/*}/bin/plain" a
