//! Waiting for an account's pace, where it has one.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use moorgate_contract::{
    flow::Meter,
    pace::{TICK, Turn},
    quota::Quota,
};

use crate::runtime::{sleep, spawn};

/// Ready when the flow that `meter` counts may move bytes: how many, before it has to ask again. For accounts without a
/// quota that is always, and one branch.
pub fn poll_turn(meter: &Meter, cx: &Context<'_>) -> Poll<u64> {
    let Some(share) = meter.share() else { return Poll::Ready(u64::MAX) };
    match share.turn(Instant::now(), cx.waker()) {
        Turn::Now(bytes) => Poll::Ready(bytes),
        Turn::Wait { tick } => {
            if tick {
                spawn(tick_while_any_wait(share.quota().clone()));
            }
            Poll::Pending
        }
    }
}

/// One timer for all that wait of an account, and none while nobody does.
async fn tick_while_any_wait(quota: Arc<Quota>) {
    loop {
        sleep(TICK).await;
        if !quota.tick(Instant::now()) {
            return;
        }
    }
}
