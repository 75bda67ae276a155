//! The second connection: for what waits for no write and holds none up. The audit log is read by it, and gateways say
//! there that they live.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::timeout};

use super::{Control, Inner};
use crate::{
    error::{ControlError, Result, StoreError},
    limits::STORE_TIME,
    store::Store,
};

/// Where it is kept. Opened when it is first wanted, and again after trouble.
pub(crate) type Side = Arc<Mutex<Option<Store>>>;

impl Control {
    /// Does some work on the second connection, in a task of its own, so that a caller who goes away leaves it whole.
    pub(crate) async fn aside<T, F, W>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> W + Send + 'static,
        W: Future<Output = Result<(Store, T), StoreError>> + Send + 'static,
    {
        self.aside_within(STORE_TIME, work).await
    }

    /// As [`aside`](Self::aside), on a connection of its own.
    pub(crate) async fn aside_on<T, F, W>(&self, side: &Side, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> W + Send + 'static,
        W: Future<Output = Result<(Store, T), StoreError>> + Send + 'static,
    {
        self.run_aside(side.clone(), STORE_TIME, work).await
    }

    /// As [`aside`](Self::aside), for what takes longer.
    pub(crate) async fn aside_within<T, F, W>(&self, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> W + Send + 'static,
        W: Future<Output = Result<(Store, T), StoreError>> + Send + 'static,
    {
        self.run_aside(self.inner.side.clone(), limit, work).await
    }

    async fn run_aside<T, F, W>(&self, side: Side, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> W + Send + 'static,
        W: Future<Output = Result<(Store, T), StoreError>> + Send + 'static,
    {
        let inner = self.inner.clone();
        let task = tokio::spawn(async move {
            let too_slow = StoreError::TooSlow { limit };
            timeout(limit, inner.aside(&side, work)).await.unwrap_or(Err(too_slow))
        });
        Ok(task.await.unwrap_or(Err(StoreError::NotOpen))?)
    }
}

impl Inner {
    async fn aside<T, W>(&self, side: &Side, work: impl FnOnce(Store) -> W) -> Result<T, StoreError>
    where
        W: Future<Output = Result<(Store, T), StoreError>>,
    {
        let mut side = side.lock().await;
        let store = match side.take() {
            Some(store) if store.check_file().is_ok() => store,
            // Whoever brings the store back is not to be disturbed.
            _ if self.is_closed() || self.trouble().is_some() => return Err(StoreError::NotOpen),
            _ => Store::beside(&self.store_url).await?,
        };
        let (store, done) = work(store).await?;
        *side = Some(store);
        Ok(done)
    }

    fn is_closed(&self) -> bool {
        super::lock(&self.lock).is_none()
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        Self::StoreDown(error)
    }
}
