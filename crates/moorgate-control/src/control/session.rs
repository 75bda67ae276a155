//! A write from its turn to its publication, and how the store is brought back after trouble.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::{Control, Inner, now};
use crate::{
    book::{Book, Edit},
    call::Call,
    error::{ControlError, Result, StoreError},
    limits::{MAX_EDITS, ROLLBACK_TIME, STORE_TIME},
    store::{Author, Entry, Opening, Store, Tx},
};

/// The store's one writer.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Option<Store>,
    /// Somebody left in the middle of a transaction.
    dirty: bool,
    closed: bool,
}

impl Writer {
    pub(crate) fn new(store: Option<Store>) -> Self {
        Self { store, dirty: false, closed: false }
    }

    pub(super) fn close(&mut self) -> Option<Store> {
        self.closed = true;
        self.store.take()
    }
}

/// One operation's turn at the store: alone in writing, and with what others wrote before known. What is changed through
/// it is written, published and entered into the audit log together, by [`commit`](Session::commit); dropped without
/// that, nothing has changed.
pub(crate) struct Session {
    pub(crate) inner: Arc<Inner>,
    call: Arc<Call>,
    writer: OwnedMutexGuard<Writer>,
    /// There until the end.
    tx: Option<Tx>,
    pub(super) edits: Vec<Edit>,
    pub(super) entries: Vec<Entry>,
}

impl Session {
    async fn open(inner: Arc<Inner>, call: Arc<Call>) -> Result<Self> {
        let mut writer = inner.writer.clone().lock_owned().await;
        let tx = inner.begin(&mut writer).await?;
        let mut session = Self { inner, call, writer, tx: Some(tx), edits: Vec::new(), entries: Vec::new() };
        if session.call.upon.is_some_and(|version| version != session.inner.book().version()) {
            return Err(ControlError::Overtaken);
        }
        if let Some(once) = session.call.once {
            session.tx()?.check_once(&once, now()).await?;
        }
        Ok(session)
    }

    /// From where it was asked; empty: from here.
    pub(super) fn client(&self) -> String {
        self.call.from.map(|from| from.to_string()).unwrap_or_default()
    }

    pub(crate) fn tx(&mut self) -> Result<&mut Tx> {
        Ok(self.tx.as_mut().ok_or(StoreError::NotOpen)?)
    }

    /// Makes it durable, then serves it.
    pub(crate) async fn commit(mut self) -> Result<()> {
        if let Some(once) = self.call.once.filter(|_| !self.entries.is_empty()) {
            let did = in_words(&self.entries);
            self.tx()?.take_once(&once, &did, now()).await?;
        }
        let tx = self.tx.take().ok_or(StoreError::NotOpen)?;
        if self.entries.is_empty() {
            self.writer.store = Some(tx.rollback().await?);
            return Ok(());
        }
        let author = self.inner.author(&self.call);
        let (store, version, head) = tx.commit(std::mem::take(&mut self.entries), &author, &self.inner.chain).await?;
        self.writer.store = Some(store);
        self.inner.publish(version, head, std::mem::take(&mut self.edits));
        Ok(())
    }
}

/// What a transaction did: its first entry, and how many more there are.
fn in_words(entries: &[Entry]) -> String {
    let Some(first) = entries.first() else { return String::new() };
    let whose = match &first.account {
        Some(account) if *account != first.name => format!(" of account {account}"),
        _ => String::new(),
    };
    let more = match entries.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    format!("{} {} {}{whose}{more}", first.action, first.change.what, first.name)
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(tx) = self.tx.take() {
            self.writer.store = Some(tx.abandon());
            self.writer.dirty = true;
        }
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
        self.write_within(STORE_TIME, operation).await
    }

    /// As [`write`](Self::write), for what takes longer.
    pub(crate) async fn write_within<T, F, W>(&self, limit: Duration, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Session) -> W + Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let (inner, call) = (self.inner.clone(), self.call.clone());
        let task = tokio::spawn(async move {
            let work = async { operation(Session::open(inner.clone(), call).await?).await };
            let too_slow = StoreError::TooSlow { limit };
            let done = timeout(limit, work).await.unwrap_or(Err(too_slow.into()));
            match &done {
                Ok(_) => inner.note_health(),
                Err(error @ ControlError::StoreDown(_)) => inner.note_trouble(error),
                // Other gateways must not wait for what came to nothing.
                Err(_) => inner.tidy().await,
            }
            done
        });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }
}

impl Inner {
    pub(super) fn author(&self, call: &Call) -> Author {
        Author {
            at: now(),
            gateway: self.gateway.name.clone(),
            token: call.by.as_ref().map(|caller| caller.token_id.clone()),
            owner: call.by.as_ref().and_then(|caller| caller.account.clone()),
            client: call.from.map(|from| from.to_string()),
        }
    }

    /// A transaction, once everything that others have written is known.
    async fn begin(&self, writer: &mut Writer) -> Result<Tx> {
        let mut tx = self.ready(writer).await?.begin().await?;
        self.catch_up(&mut tx).await?;
        Ok(tx)
    }

    /// The connection, as good as new.
    async fn ready(&self, writer: &mut Writer) -> Result<Store> {
        if writer.closed {
            return Err(StoreError::NotOpen.into());
        }
        self.tidy_up(writer).await;
        match writer.store.take() {
            Some(store) if store.check_file().is_ok() => Ok(store),
            _ => Store::open(&self.store_url, &self.master_keys, Opening::MustExist).await,
        }
    }

    /// Ends a transaction that was left in the middle, at once.
    async fn tidy(&self) {
        let mut writer = self.writer.clone().lock_owned().await;
        self.tidy_up(&mut writer).await;
    }

    async fn tidy_up(&self, writer: &mut Writer) {
        if !std::mem::take(&mut writer.dirty) {
            return;
        }
        let Some(mut store) = writer.store.take() else { return };
        // A connection that can't even end its transaction is given up; the store ends it then.
        if matches!(timeout(ROLLBACK_TIME, store.rollback()).await, Ok(Ok(()))) {
            writer.store = Some(store);
        }
    }

    /// Serves what others have written.
    async fn catch_up(&self, tx: &mut Tx) -> Result<()> {
        let (known, stored) = (self.book().version(), tx.version());
        if stored == known {
            return Ok(());
        }
        if stored < known {
            tracing::warn!(stored, known, "the store is older than what was served: a backup was restored");
            // Versions must go on growing, or two different snapshots would bear the same one.
            tx.raise_version(known);
            let rows = tx.load().await?;
            self.replace(Book::new(crate::book::Rows { version: known, ..rows }));
            return Ok(());
        }
        match tx.edits_since(known, MAX_EDITS).await? {
            Some(edits) if !edits.is_empty() => self.publish(stored, tx.head().clone(), edits),
            _ => self.replace(Book::new(tx.load().await?)),
        }
        Ok(())
    }

    /// Looks whether others have written something, and brings the store back if it is in trouble. Says whether all is
    /// well.
    pub(crate) async fn refresh(self: &Arc<Self>) -> bool {
        let mut writer = self.writer.clone().lock_owned().await;
        if writer.closed {
            return true;
        }
        let too_slow = StoreError::TooSlow { limit: STORE_TIME };
        match timeout(STORE_TIME, self.look(&mut writer)).await.unwrap_or(Err(too_slow.into())) {
            Ok(()) => {
                self.note_health();
                true
            }
            Err(error) => {
                self.note_trouble(&error);
                false
            }
        }
    }

    async fn look(&self, writer: &mut Writer) -> Result<()> {
        let mut store = self.ready(writer).await?;
        let (stored, known) = (store.version().await?, self.book().version());
        if stored == known {
            writer.store = Some(store);
            return Ok(());
        }
        let mut tx = store.begin().await?;
        self.catch_up(&mut tx).await?;
        writer.store = Some(if stored < known {
            let entry = super::changes::restored(stored, known);
            let author = self.author(&Call::default());
            let (store, version, head) = tx.commit(vec![entry], &author, &self.chain).await?;
            self.publish(version, head, Vec::new());
            store
        } else {
            tx.rollback().await?
        });
        Ok(())
    }
}
