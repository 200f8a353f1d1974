//! Replies as the client reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| emulator_fuzz::reply(bytes));
