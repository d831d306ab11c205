//! `cargo fuzz run patch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| husk::checks::patch(bytes));
