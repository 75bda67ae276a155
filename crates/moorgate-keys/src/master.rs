//! The master key: 32 random bytes, from which every key that seals something at rest is derived (HKDF, RFC 5869).

use std::{
    fmt::{self, Write as _},
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::{Hex, KeyError, file, random};

/// Bytes of a master key and of what is derived from it.
const LEN: usize = 32;
/// Separates our derivations from any other use of the same bytes.
const SALT: &[u8] = b"moorgate master key v1";
const KEY_ID_PURPOSE: &str = "key id";

/// The key that seals what is stored. Zeroized on drop; prints as its [`KeyId`] only.
pub struct MasterKey(Zeroizing<[u8; LEN]>);

/// Says which master key something was sealed with, without saying anything else about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.key_id())
    }
}

impl MasterKey {
    pub(crate) const LEN: usize = LEN;

    pub(crate) fn random() -> Result<Self, KeyError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; LEN]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Reads a key file: 64 hexadecimal digits; white space around them does not matter.
    ///
    /// A file that group or others may read is refused ([`KeyError::LooseFile`]); below `$CREDENTIALS_DIRECTORY` the
    /// group may: there systemd shows the service's own access as the group's.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { action: "read", path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|dir| path.starts_with(dir));
        if mode & if credential { 0o037 } else { 0o077 } != 0 {
            return Err(KeyError::LooseFile { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read(path).map_err(failed)?);
        Self::from_hex(&text).ok_or_else(|| KeyError::NotAMasterKeyFile { path: path.to_owned() })
    }

    /// Makes a new key and its file (mode 0600). A file that is there already is never overwritten: that is an error of
    /// kind [`io::ErrorKind::AlreadyExists`].
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let key = Self::random()?;
        let mut text = Zeroizing::new(String::with_capacity(2 * LEN + 1));
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}", Hex(&*key.0));
        file::create_new(path, text.as_bytes(), file::PRIVATE)
            .and_then(|()| file::sync_dir_of(path))
            .map_err(|source| KeyError::Io { action: "create", path: path.to_owned(), source })?;
        Ok(key)
    }

    /// [`load`](Self::load), or [`create`](Self::create) when there is no such file; says whether it was created.
    pub fn load_or_create(path: &Path) -> Result<(Self, bool), KeyError> {
        match Self::load(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok((Self::create(path)?, true))
            }
            loaded => Ok((loaded?, false)),
        }
    }

    /// Reads a key from a text such as an environment variable's value: the same form as in a file.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_hex(text.as_bytes()).ok_or(KeyError::NotAMasterKey)
    }

    fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = text.trim_ascii().as_chunks::<2>();
        if pairs.len() != LEN || !rest.is_empty() {
            return None;
        }
        let mut key = Zeroizing::new([0; LEN]);
        for (byte, [high, low]) in key.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(key))
    }

    /// Which key this is; stands in front of everything sealed with it.
    pub fn key_id(&self) -> KeyId {
        let mut id = KeyId([0; 8]);
        id.0.iter_mut().zip(self.derive(KEY_ID_PURPOSE).iter()).for_each(|(to, from)| *to = *from);
        id
    }

    /// A key for one purpose: HKDF-SHA256 (RFC 5869) with `purpose` as info. Purposes that differ give keys that tell
    /// nothing about each other.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; LEN]> {
        // Extract, then the one block of expand that 32 bytes take (§2.2, §2.3); so written it has no way to fail.
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SALT), &*self.0);
        let mut expand = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref()));
        expand.update(purpose.as_bytes());
        expand.update(&[1]);
        let mut key = Zeroizing::new([0; LEN]);
        key.iter_mut().zip(expand.sign().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }
}

#[cfg(test)]
mod tests;
