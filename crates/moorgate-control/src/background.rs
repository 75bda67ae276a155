//! What goes on without being asked: sealing, forgetting ended passwords, and bringing the store back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    Control,
    control::{Inner, Signals, now},
    error::chain,
    limits::{LONGEST_SLEEP, RETRY, SEAL_DELAY},
};

/// Starts the background work. It holds no [`Control`] while it waits, and ends with the last one.
pub(crate) fn spawn(inner: &Arc<Inner>) -> Vec<AbortHandle> {
    let (weak, signals) = (Arc::downgrade(inner), inner.signals.clone());
    vec![
        tokio::spawn(seal(weak.clone(), signals.clone())).abort_handle(),
        tokio::spawn(reap(weak.clone(), signals.clone())).abort_handle(),
        tokio::spawn(mend(weak, signals)).abort_handle(),
    ]
}

async fn seal(inner: Weak<Inner>, signals: Arc<Signals>) {
    loop {
        signals.seal.notified().await;
        sleep(SEAL_DELAY).await;
        let Some(inner) = inner.upgrade() else { return };
        if !inner.seal().await {
            sleep(RETRY).await;
            signals.seal.notify_one();
        }
    }
}

async fn reap(inner: Weak<Inner>, signals: Arc<Signals>) {
    loop {
        let Some(next) = inner.upgrade().map(|inner| next_ending(&inner)) else { return };
        // Woken or not: look again.
        let _ = timeout(next, signals.reap.notified()).await;
        let Some(control) = inner.upgrade().map(|inner| Control { inner }) else { return };
        if let Err(error) = control.reap(now()).await {
            drop(control);
            tracing::debug!(
                error = chain(&error),
                "ended passwords stay in the store for now; they are refused all the same"
            );
            sleep(RETRY).await;
        }
    }
}

fn next_ending(inner: &Inner) -> Duration {
    let next = inner.book().endings().map(|(_, ending)| ending.until).min();
    // A millisecond more, so that it has ended by the time we look.
    let wait = next.map(|next| next.since(now()) + Duration::from_millis(1));
    wait.map_or(LONGEST_SLEEP, |wait| wait.min(LONGEST_SLEEP))
}

async fn mend(inner: Weak<Inner>, signals: Arc<Signals>) {
    loop {
        // Also unasked: a store that was removed shows only when someone looks.
        let _ = timeout(LONGEST_SLEEP, signals.mend.notified()).await;
        loop {
            let Some(inner) = inner.upgrade() else { return };
            if inner.mend().await {
                break;
            }
            drop(inner);
            sleep(RETRY).await;
        }
    }
}
