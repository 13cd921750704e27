//! Promise: whatever bytes come in, each reader of them comes back.
//!
//! The targets of the fuzzer (`scripts/fuzz.sh` runs it for as long as one likes) on their seeds and on a few thousand
//! changes of them, so that they are compiled and seen running wherever the tests are.

use std::path::{Path, PathBuf};

#[path = "fuzz/targets.rs"]
mod targets;

/// Changes of each seed.
const CHANGES: usize = 40;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count.max(1) as u64) as usize
    }
}

/// A few bytes changed, taken out, or said twice.
fn changed(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(4) {
        let (from, length) = (dice.below(bytes.len()), dice.below(12));
        let until = (from + length).min(bytes.len());
        match dice.below(4) {
            0 => bytes.truncate(from),
            1 => drop(bytes.drain(from..until)),
            2 => {
                let again = bytes[from..until].to_vec();
                bytes.splice(from..from, again);
            }
            _ if from < bytes.len() => bytes[from] = dice.below(256) as u8,
            _ => {}
        }
    }
    bytes
}

/// The seeds that `scripts/fuzz.sh` makes of the repository's own files.
fn seeds(folder: &Path) -> Vec<(String, PathBuf)> {
    let made = std::process::Command::new(root().join("scripts/fuzz.sh")).arg("--seeds").arg(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut seeds = Vec::new();
    for target in std::fs::read_dir(folder).unwrap() {
        let target = target.unwrap();
        for seed in std::fs::read_dir(target.path()).unwrap() {
            seeds.push((target.file_name().into_string().unwrap(), seed.unwrap().path()));
        }
    }
    seeds.sort();
    seeds
}

#[test]
fn every_target_comes_back_from_its_seeds_and_from_changes_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(folder.path());
    let mut dice = Dice(20_260_302);
    for (name, target) in targets::ALL {
        let mine: Vec<_> = seeds.iter().filter(|(of, _)| of == name).collect();
        assert!(mine.len() >= 2, "{name} has {} seeds", mine.len());
        target(b"");
        for (_, path) in mine {
            let seed = std::fs::read(path).unwrap();
            target(&seed);
            for _ in 0..CHANGES {
                target(&changed(&seed, &mut dice));
            }
        }
    }
    let unknown: Vec<_> = seeds.iter().filter(|(of, _)| !targets::ALL.iter().any(|(name, _)| name == of)).collect();
    assert!(unknown.is_empty(), "seeds of no target: {unknown:?}");
}
