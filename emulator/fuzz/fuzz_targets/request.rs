//! Requests as nodes open, judge and answer them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| emulator_fuzz::request(bytes));
