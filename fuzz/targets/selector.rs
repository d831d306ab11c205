//! `cargo fuzz run selector`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| husk::checks::selector(bytes));
