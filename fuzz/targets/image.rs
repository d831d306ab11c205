//! `cargo fuzz run image`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| husk::images::image(bytes));
