//! Pod volumes, from their specification to something a container can mount.
