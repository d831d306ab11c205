//! What programs on the switch notice.
