#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    segmenta_fuzz::properties::commit_record(bytes);
});
