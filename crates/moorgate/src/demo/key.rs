//! Looks for the origin's private key where it must not be: in every recording, and in every file of the gateway's.

use std::{fs, path::Path};

use super::{
    destination::Identity,
    measure::Row,
    needle::{Case, Needle},
};

/// What stands before the 32 secret bytes of an EC key in PKCS #8 (RFC 5915 §3): version 1, then an octet string.
const BEFORE: [u8; 5] = [0x02, 0x01, 0x01, 0x04, 0x20];
const SECRET: usize = 32;

/// Where it was looked for, and whether it was there.
pub(super) struct KeySearch {
    /// Recordings.
    pub(super) recordings: usize,
    /// Files of the gateway's.
    pub(super) files: usize,
    /// The first place where it was found.
    pub(super) found: Option<String>,
}

impl KeySearch {
    /// Looks for the key of `identity` in what `rows` recorded, and in all files below `dir`.
    pub(super) fn new(identity: &Identity, rows: &[Row], dir: &Path) -> Self {
        let needle = Needle::new(secret(&identity.key), Case::Exact);
        let mut search = Self { recordings: 0, files: 0, found: None };
        for recording in rows.iter().flat_map(|row| &row.recordings) {
            search.recordings += 1;
            search.look(&needle, &recording.name, &recording.bytes);
        }
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            // What goes while we look is not there.
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if let Ok(bytes) = fs::read(&path) {
                    search.files += 1;
                    search.look(&needle, &path.display().to_string(), &bytes);
                }
            }
        }
        search
    }

    fn look(&mut self, needle: &Needle, name: &str, bytes: &[u8]) {
        // PEM breaks its lines anywhere.
        let joined: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if needle.find(bytes).or_else(|| needle.find(&joined)).is_some() {
            self.found.get_or_insert_with(|| name.to_owned());
        }
    }
}

/// The secret bytes alone, however the rest is written down; all of the key if it is none of ours.
fn secret(key: &[u8]) -> &[u8] {
    let at = key.windows(BEFORE.len()).position(|window| window == BEFORE).map(|at| at + BEFORE.len());
    at.and_then(|at| key.get(at..at + SECRET)).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use moorgate_keys::LocalCa;

    use super::*;

    #[test]
    fn a_key_that_the_gateway_has_written_down_is_found_in_der_and_in_pem() {
        let ca = LocalCa::create("test").unwrap();
        let identity = Identity::new(&ca, &["a.test".to_owned()]).unwrap();
        assert_eq!(secret(&identity.key).len(), SECRET);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let search = || KeySearch::new(&identity, &[], dir.path());
        fs::write(dir.path().join("certificate"), &identity.certificate).unwrap();
        assert_eq!((search().files, search().found), (1, None));
        let pem: Vec<u8> = STANDARD.encode(&identity.key).into_bytes();
        let lines: Vec<&[u8]> = pem.chunks(64).collect();
        for written in [identity.key.clone(), lines.join(&b'\n')] {
            let path = dir.path().join("below/key");
            fs::write(&path, written).unwrap();
            assert_eq!(search().found, Some(path.display().to_string()));
        }
    }
}
