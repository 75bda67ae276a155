//! What goes on without being asked: sealing, forgetting ended passwords, and bringing the store back.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use sqlx::postgres::PgListener;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    Control,
    control::{Inner, Signals, alarms, domains, issuing, now},
    error::chain,
    limits::{
        BEAT_DELAY, FORGET, HEARTBEAT, LONGEST_SLEEP, LOOK_AT_PORTS, POLL, RETRY, SEAL_DELAY, SETTLE, SHARE_DELAY,
        WATCH,
    },
    store::CHANNEL,
};

/// Starts the background work. It holds no [`Control`] while it waits, and ends with the last one.
pub(crate) fn spawn(inner: &Arc<Inner>) -> Vec<AbortHandle> {
    let (weak, signals) = (Arc::downgrade(inner), inner.signals.clone());
    vec![
        tokio::spawn(seal(weak.clone(), signals.clone())).abort_handle(),
        tokio::spawn(reap(weak.clone(), signals.clone())).abort_handle(),
        tokio::spawn(mend(weak.clone(), signals.clone())).abort_handle(),
        tokio::spawn(beat(weak.clone(), signals.clone())).abort_handle(),
        tokio::spawn(settle(weak.clone())).abort_handle(),
        tokio::spawn(ports(weak)).abort_handle(),
        watch(inner, alarms::Watch::default(), alarms::Watch::go_on),
    ]
    .into_iter()
    .chain(inner.is_shared().then(|| tokio::spawn(share(Arc::downgrade(inner), signals.clone())).abort_handle()))
    .chain(inner.zone.is_some().then(|| watch(inner, domains::Watch::default(), domains::Watch::go_on)))
    .chain(inner.issues().then(|| watch(inner, issuing::Watch::default(), issuing::Watch::go_on)))
    .chain(inner.store_url.server().map(|url| tokio::spawn(listen(url.to_owned(), signals)).abort_handle()))
    .collect()
}

/// Looks all the time whether there is something to do.
fn watch<W: Send + 'static>(inner: &Arc<Inner>, mut watch: W, go_on: fn(&mut W, &Control)) -> AbortHandle {
    let inner = Arc::downgrade(inner);
    let looking = async move {
        loop {
            sleep(WATCH).await;
            let Some(control) = inner.upgrade().map(Control::by_itself) else { return };
            go_on(&mut watch, &control);
        }
    };
    tokio::spawn(looking).abort_handle()
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
        let Some(control) = inner.upgrade().map(Control::by_itself) else { return };
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
    let shared = inner.upgrade().is_some_and(|inner| inner.store_url.server().is_some());
    // Also unasked: a file that was removed shows only when someone looks, and so does what other gateways have written.
    let unasked = if shared { POLL } else { LONGEST_SLEEP };
    loop {
        let _ = timeout(unasked, signals.mend.notified()).await;
        loop {
            let Some(inner) = inner.upgrade() else { return };
            if inner.refresh().await {
                break;
            }
            drop(inner);
            sleep(RETRY).await;
        }
    }
}

/// Writes usage, and grants what is left of quotas; forgets from time to time what is older than it is kept.
async fn settle(inner: Weak<Inner>) {
    let mut forgotten = None;
    loop {
        let Some(control) = inner.upgrade().map(Control::by_itself) else { return };
        if let Err(error) = control.settle().await {
            tracing::debug!(error = chain(&error), "usage stays in memory for now");
        }
        if forgotten.is_none_or(|at: Instant| at.elapsed() > FORGET) && control.forget_usage().await.is_ok() {
            forgotten = Some(Instant::now());
        }
        drop(control);
        sleep(SETTLE).await;
    }
}

/// Shows the other gateways what this one did.
async fn share(inner: Weak<Inner>, signals: Arc<Signals>) {
    loop {
        signals.share.notified().await;
        sleep(SHARE_DELAY).await;
        let Some(control) = inner.upgrade().map(Control::by_itself) else { return };
        let shared = control.share().await;
        drop(control);
        if !shared {
            sleep(RETRY).await;
            signals.share.notify_one();
        }
    }
}

/// Looks how many source ports are left.
async fn ports(inner: Weak<Inner>) {
    loop {
        sleep(LOOK_AT_PORTS).await;
        let Some(control) = inner.upgrade().map(Control::by_itself) else { return };
        control.warn_of_ports();
    }
}

/// Tells the other gateways that this one lives, after its start has said so.
async fn beat(inner: Weak<Inner>, signals: Arc<Signals>) {
    loop {
        let asked = timeout(HEARTBEAT, signals.beat.notified()).await.is_ok();
        if asked {
            sleep(BEAT_DELAY).await;
        }
        let Some(control) = inner.upgrade().map(Control::by_itself) else { return };
        if !asked {
            control.inner.locate_store().await;
        }
        if let Err(error) = control.beat().await {
            tracing::debug!(error = chain(&error), "the other gateways don't hear of this one now");
        }
    }
}

/// Hears of what other gateways have written. A hint: whoever hears nothing looks by itself.
async fn listen(url: String, signals: Arc<Signals>) {
    loop {
        if let Ok(mut listener) = PgListener::connect(&url).await
            && listener.listen(CHANNEL).await.is_ok()
        {
            // An error is a connection that was lost, and with it what was said meanwhile.
            while listener.try_recv().await.is_ok_and(|heard| heard.is_some()) {
                signals.mend.notify_one();
            }
        }
        sleep(RETRY).await;
    }
}
