//! A place beside a value of the snapshot for what the data plane builds from it.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

/// What was built once from the value that this stands in (a TLS configuration, a pool of connections). It lives exactly
/// as long as that value: replacing a route replaces what was built from it, and nobody has to clear a cache. Says
/// nothing about whether two values are equal.
#[derive(Clone, Default)]
pub struct Attached(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl Attached {
    /// What is attached, if it was made and is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.get()?.clone().downcast().ok()
    }

    /// What is attached; made the first time. One place holds one type: for another than the first, what is made is
    /// handed out and not kept.
    pub fn get_or_make<T: Any + Send + Sync>(&self, make: impl Fn() -> T) -> Arc<T> {
        let kept = self.0.get_or_init(|| Arc::new(make()));
        kept.clone().downcast().unwrap_or_else(|_| Arc::new(make()))
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached(…)")
    }
}

impl PartialEq for Attached {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Attached {}
