#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tus_tests::fuzz::OPERATIONS.run(data));
