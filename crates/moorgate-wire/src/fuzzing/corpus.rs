//! The corpora of `fuzz/`, and some thousand mutations of them that are the same each time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests come here")]

use std::{fs, iter, path::Path};

/// Mutations of each corpus file.
const MUTATIONS: usize = 2_000;
const MAX_MUTANT_BYTES: usize = 4096;

/// The files of a target's corpus, always in the same order.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("no corpus in {}: {e}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
}

/// Mutations of one file, without end; pieces of the others may be in them. A seed gives the same ones each time.
pub fn mutations(file: &[u8], files: &[Vec<u8>], seed: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut random = XorShift(0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1));
    iter::repeat_with(move || mutant(file, files, &mut random))
}

/// Holds a target to its corpus and to what grows out of it.
pub fn replay(target: &str, check: fn(&[u8])) {
    let files = corpus(target);
    for (seed, file) in files.iter().enumerate() {
        check(file);
        mutations(file, &files, seed).take(MUTATIONS).for_each(|mutant| check(&mutant));
    }
}

/// One to four small changes.
fn mutant(file: &[u8], files: &[Vec<u8>], random: &mut XorShift) -> Vec<u8> {
    const TELLING: &[u8] = b"\0\x01\x02\x03\x04\x05\r\n\t :;,/?#@%[]\\.0x9f\x7f\x80\xff";
    let mut out = file.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        let byte = if random.below(2) == 0 { TELLING[random.below(TELLING.len())] } else { random.next() as u8 };
        match random.below(6) {
            0 => out.insert(at, byte),
            1 if at < out.len() => drop(out.remove(at)),
            2 if at < out.len() => out[at] = byte,
            3 => out.truncate(at),
            4 => {
                let end = out.len().min(at + 1 + random.below(16));
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            _ => {
                let other = &files[random.below(files.len())];
                let from = random.below(other.len() + 1);
                let to = other.len().min(from + 1 + random.below(24));
                out.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    out.truncate(MAX_MUTANT_BYTES);
    out
}

struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}
