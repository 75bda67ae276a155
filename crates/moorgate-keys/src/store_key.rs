//! The envelope: what is stored is sealed under the store's key, and that under the master key.

use zeroize::Zeroizing;

use crate::{KeyError, MasterKey, MasterKeys, SealError, seal};

const PURPOSE: &str = "store key";

/// The key of a store. What is in the store is sealed and hashed under it; it stands there itself, sealed under the master
/// key, so that another master key costs sealing this one anew and nothing else. Zeroized on drop.
#[derive(Debug)]
pub struct StoreKey(MasterKey);

impl StoreKey {
    /// A new key.
    pub fn random() -> Result<Self, KeyError> {
        MasterKey::random().map(Self)
    }

    /// The key of a store from before stores had their own: the master key itself.
    pub fn of_master(master: &MasterKey) -> Self {
        Self(MasterKey::from_bytes(Zeroizing::new(*master.bytes())))
    }

    /// Opens what [`seal`](Self::seal) made.
    pub fn open(master: &MasterKeys, sealed: &[u8]) -> Result<Self, SealError> {
        let opened = master.open(PURPOSE, sealed)?;
        let bytes: &[u8; MasterKey::LEN] = opened.as_slice().try_into().map_err(|_| SealError::Damaged)?;
        Ok(Self(MasterKey::from_bytes(Zeroizing::new(*bytes))))
    }

    /// This key, sealed under the master key.
    pub fn seal(&self, master: &MasterKey) -> Result<Vec<u8>, SealError> {
        seal(master, PURPOSE, self.0.bytes())
    }

    /// Whether `sealed` is what [`seal`](Self::seal) made under this master key.
    pub fn is_under(master: &MasterKey, sealed: &[u8]) -> bool {
        crate::seal::open(master, PURPOSE, sealed).is_ok()
    }

    /// What seals, and what other keys are derived from.
    pub fn key(&self) -> &MasterKey {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_key_outlives_the_master_key_it_is_sealed_under() {
        let master = |digits: &str| MasterKey::parse(&digits.repeat(32)).unwrap();
        let alone = |digits| MasterKeys { current: master(digits), previous: None };
        let (old, new, both) = (alone("01"), alone("02"), MasterKeys { previous: Some(master("01")), ..alone("02") });
        let key = StoreKey::random().unwrap();
        let sealed = key.seal(&old.current).unwrap();
        let have = new.current.key_id();
        assert!(matches!(StoreKey::open(&new, &sealed), Err(SealError::WrongKey { have: told, .. }) if told == have));
        let opened = StoreKey::open(&both, &sealed).unwrap();
        let again = StoreKey::open(&new, &opened.seal(&new.current).unwrap()).unwrap();
        assert_eq!(again.key().key_id(), key.key().key_id());
        assert_eq!(StoreKey::of_master(&old.current).key().key_id(), old.current.key_id());
        assert!(!format!("{key:?}").contains(&format!("{:?}", key.key().bytes())));
    }
}
