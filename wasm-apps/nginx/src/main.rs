//! A web server.

fn main() {}
