//! The NATS protocol as nodes read it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| emulator_fuzz::codec(bytes));
