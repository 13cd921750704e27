//! The fuzzer of one target, which `BELLWETHER_FUZZ` names: `scripts/fuzz.sh` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

mod targets;

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<targets::Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("BELLWETHER_FUZZ").unwrap_or_default();
        let found = targets::ALL.into_iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("BELLWETHER_FUZZ names no target: {name:?}")).1
    });
    target(data);
});
