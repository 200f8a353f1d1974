//! Filters, fact paths, compound expressions and value patterns.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| emulator_fuzz::filter(bytes));
