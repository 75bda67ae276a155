//! Sealing: what is stored can be read only with the master key, and only for the purpose it was sealed for.
//!
//! A blob is a version byte, the master key's id (8 bytes), a nonce (12), then AES-256-GCM (RFC 5116) of the plaintext
//! under a key derived for the purpose. The purpose and all in front of the nonce are authenticated too.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::{KeyId, MasterKey};

const VERSION: u8 = 1;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// Sealed with another master key.
    #[error("sealed with master key {wants}, but this one is {have}: start with the key it was sealed with")]
    WrongKey {
        /// The key that can open it.
        wants: KeyId,
        /// The key that was tried.
        have: KeyId,
    },
    /// Not made by a version of Moorgate that this one knows.
    #[error("sealed in format {0}, which this version does not know: use the version that sealed it")]
    UnknownVersion(u8),
    /// Changed since it was sealed, cut short, or sealed for another purpose.
    #[error("damaged, or sealed for another purpose: restore it from your backup")]
    Damaged,
    /// The cryptographic library gave up: no memory or no randomness.
    #[error("cannot encrypt: the system has no memory or no randomness left")]
    Crypto,
}

/// Seals `plaintext` for `purpose`, a constant text that says what it is ("certificate key", "snapshot").
pub fn seal(key: &MasterKey, purpose: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let head = Head { version: VERSION, key: key.key_id() };
    // Room for the tag now: growing later would leave a copy of the plaintext in freed memory.
    let mut sealed = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
    sealed.extend_from_slice(plaintext);
    let nonce = cipher(key, purpose)?
        .seal_in_place_append_tag(head.authenticated_with(purpose), &mut *sealed)
        .map_err(|_| SealError::Crypto)?;
    Ok([&[head.version][..], &head.key.0, nonce.as_ref(), &sealed].concat())
}

/// Opens what [`seal`] made with the same key for the same purpose.
pub fn open(key: &MasterKey, purpose: &str, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (&version, rest) = blob.split_first().ok_or(SealError::Damaged)?;
    if version != VERSION {
        return Err(SealError::UnknownVersion(version));
    }
    let (&id, rest) = rest.split_first_chunk::<8>().ok_or(SealError::Damaged)?;
    let (&nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Damaged)?;
    let (wants, have) = (KeyId(id), key.key_id());
    if wants != have {
        return Err(SealError::WrongKey { wants, have });
    }
    let head = Head { version, key: wants };
    let mut opened = Zeroizing::new(sealed.to_vec());
    let len = cipher(key, purpose)?
        .open_in_place(Nonce::from(&nonce), head.authenticated_with(purpose), &mut opened)
        .map_err(|_| SealError::Damaged)?
        .len();
    opened.truncate(len);
    Ok(opened)
}

/// The master key in use, and the one before it for as long as something may be sealed under that.
#[derive(Debug)]
pub struct MasterKeys {
    /// Seals, and opens.
    pub current: MasterKey,
    /// Opens.
    pub previous: Option<MasterKey>,
}

impl MasterKeys {
    /// Both, the one in use first.
    pub fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        [&self.current].into_iter().chain(&self.previous)
    }

    /// Opens what [`seal`] made with either of them. The error is the one that the key in use gives.
    pub fn open(&self, purpose: &str, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let with_previous = || open(self.previous.as_ref()?, purpose, blob).ok();
        open(&self.current, purpose, blob).or_else(|error| with_previous().ok_or(error))
    }
}

struct Head {
    version: u8,
    key: KeyId,
}

impl Head {
    fn authenticated_with(&self, purpose: &str) -> Aad<Vec<u8>> {
        Aad::from([&[self.version][..], &self.key.0, purpose.as_bytes()].concat())
    }
}

fn cipher(key: &MasterKey, purpose: &str) -> Result<RandomizedNonceKey, SealError> {
    RandomizedNonceKey::new(&AES_256_GCM, &*key.derive(purpose)).map_err(|_| SealError::Crypto)
}

#[cfg(test)]
mod tests;
