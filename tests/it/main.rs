//! The one integration binary: the real `husk` program, real guests, and the rules of the tree.

mod tidy;
