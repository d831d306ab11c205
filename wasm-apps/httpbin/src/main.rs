//! A server of HTTP test answers.

fn main() {}
