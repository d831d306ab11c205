//! `cargo fuzz run layer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| husk::images::layer(bytes));
