//! A container runtime driven by tests: containers start, end and ignore signals as told.
