//! A write from its turn to its publication, and how the store is brought back after trouble.

use std::sync::Arc;

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::{Control, Inner};
use crate::{
    book::{Book, Edit},
    error::{ControlError, Result, StoreError},
    limits::STORE_TIME,
    store::{Opening, Store, Tx},
};

/// The store's one writer.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Option<Store>,
    /// A transaction was begun and its result not published: only the store knows what is stored.
    stale: bool,
    closed: bool,
}

impl Writer {
    pub(crate) fn new(store: Option<Store>) -> Self {
        Self { store, stale: false, closed: false }
    }

    pub(super) fn close(&mut self) -> Option<Store> {
        self.closed = true;
        self.store.take()
    }

    fn is_well(&self) -> bool {
        !self.stale && self.store.as_ref().is_some_and(|store| store.check_file().is_ok())
    }
}

/// One operation's turn at the store. Dropped without [`publish`](Session::publish), nothing is served that is not
/// stored, and what is stored is read again.
pub(crate) struct Session {
    pub(crate) inner: Arc<Inner>,
    writer: OwnedMutexGuard<Writer>,
}

impl Session {
    async fn open(inner: Arc<Inner>) -> Result<Self> {
        let mut writer = inner.writer.clone().lock_owned().await;
        if !writer.is_well() {
            inner.mend_with(&mut writer).await?;
            inner.note_health();
        }
        Ok(Self { inner, writer })
    }

    /// Begins the operation's transaction.
    pub(crate) async fn begin(&mut self) -> Result<Tx<'_>> {
        let Writer { store, stale, .. } = &mut *self.writer;
        let store = store.as_mut().ok_or(StoreError::NotOpen)?;
        *stale = true;
        Ok(store.begin().await?)
    }

    /// Serves what was committed as `version`.
    pub(crate) fn publish(mut self, version: u64, edits: Vec<Edit>) {
        self.inner.publish(version, edits);
        self.writer.stale = false;
    }
}

impl Control {
    /// Does one write in a task of its own: a caller that goes away between commit and publication must not leave
    /// something stored that is not served.
    pub(crate) async fn write<T, F, W>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Session) -> W + Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let inner = self.inner.clone();
        let task = tokio::spawn(async move {
            let work = async { operation(Session::open(inner.clone()).await?).await };
            let too_slow = StoreError::TooSlow { limit: STORE_TIME };
            let done = timeout(STORE_TIME, work).await.unwrap_or(Err(too_slow.into()));
            if let Err(error @ ControlError::StoreDown(_)) = &done {
                inner.note_trouble(error);
            }
            done
        });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }
}

impl Inner {
    /// Brings the store back if it is in trouble. Says whether it is well.
    pub(crate) async fn mend(&self) -> bool {
        let mut writer = self.writer.clone().lock_owned().await;
        if writer.closed || writer.is_well() {
            return true;
        }
        let too_slow = StoreError::TooSlow { limit: STORE_TIME };
        match timeout(STORE_TIME, self.mend_with(&mut writer)).await.unwrap_or(Err(too_slow.into())) {
            Ok(()) => self.note_health(),
            Err(error) => {
                self.note_trouble(&error);
                return false;
            }
        }
        true
    }

    async fn mend_with(&self, writer: &mut Writer) -> Result<()> {
        if writer.closed {
            return Err(StoreError::NotOpen.into());
        }
        let known = self.book().version();
        let mut store = match writer.store.take() {
            Some(store) if store.check_file().is_ok() => store,
            _ => Store::open(&self.store_path(), self.master_key.key_id(), Opening::MustExist).await?,
        };
        let mut rows = store.load().await?;
        if rows.version < known {
            tracing::warn!(
                stored = rows.version,
                known,
                "the store is older than what was served: a backup was restored"
            );
            store.raise_version(known).await?;
            rows = store.load().await?;
        }
        writer.store = Some(store);
        writer.stale = false;
        self.replace(Book::new(rows));
        Ok(())
    }
}
