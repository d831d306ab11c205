//! Copies one file to another, by name.

use std::fs::{File, OpenOptions};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut from = File::open(&arguments[1]).unwrap();
    let mut to = OpenOptions::new().write(true).open(&arguments[2]).unwrap();
    std::io::copy(&mut from, &mut to).unwrap();
}
