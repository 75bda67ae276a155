//! Keys and certificates: parse, match, seal with the master key, issue from the local CA.
//!
//! Speaks no TLS and knows no accounts. Secrets are zeroized when dropped and never stand in Debug, Display or an error.

use std::fmt;

pub mod ca;
pub mod chain;
pub mod challenge;
mod error;
pub mod file;
pub mod master;
pub mod request;
pub mod seal;
mod store_key;

pub use ca::{CertifiedChain, LocalCa, SubjectName};
pub use chain::{Facts, Uploaded};
pub use error::KeyError;
pub use master::{KeyId, MasterKey};
pub use seal::{MasterKeys, SealError, open, seal};
pub use store_key::StoreKey;

/// `N` bytes from the system's generator, for values whose randomness protects something.
fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
