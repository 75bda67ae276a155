//! Flows of the other gateways on a store: each shows them what it did, a moment later and as far as the store keeps up.
//! A gateway's own file stays what it answers from; nothing here holds up traffic or what is written.

use std::{collections::VecDeque, mem};

use moorgate_contract::flow::{Flow, FlowId};

use super::{Control, Inner, now};
use crate::{
    error::{Result, StoreError, chain},
    flows::{Batch, End, Wanted, end, parse},
    limits::{FLOWS_KEPT, FLOWS_WAITING},
    store::Store,
};

/// Flows that the other gateways have not been shown yet.
#[derive(Debug, Default)]
pub(crate) struct Unshared {
    flows: VecDeque<Flow>,
    /// How many there was no room for.
    left_out: u64,
}

impl Inner {
    /// Whether other gateways may be on the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.store_url.server().is_some()
    }

    /// Puts flows aside for the other gateways.
    pub(crate) fn offer(&self, flows: Vec<Flow>) {
        if !self.is_shared() {
            return;
        }
        let mut unshared = super::lock(&self.unshared);
        let room = FLOWS_WAITING.saturating_sub(unshared.flows.len());
        unshared.left_out += u64::try_from(flows.len().saturating_sub(room)).unwrap_or_default();
        unshared.flows.extend(flows.into_iter().take(room));
        self.signals.share.notify_one();
    }
}

impl Control {
    /// Shows the other gateways what waits to be shown. What can't be is theirs to miss.
    pub(crate) async fn share(&self) {
        let Unshared { flows, left_out } = mem::take(&mut *super::lock(&self.inner.unshared));
        if left_out > 0 {
            tracing::warn!(left_out, "the store is too slow for all flows: other gateways miss some in their logs");
        }
        if flows.is_empty() {
            return;
        }
        let (gateway, most) = (self.inner.gateway.name.clone(), i64::try_from(FLOWS_KEPT).unwrap_or(i64::MAX));
        let work = async move |mut store: Store| {
            let batches = Batch::all(&Vec::from(flows));
            store.put_flows(&gateway, &batches, most, now()).await?;
            Ok((store, ()))
        };
        if let Err(error) = self.aside_on(&self.inner.flow_side, work).await {
            tracing::debug!(error = chain(&error), "the other gateways are not shown what this one did");
        }
    }

    /// The last flows of other gateways that are wanted, in no order.
    pub(super) async fn flows_of_others(&self, wanted: Wanted) -> Result<Vec<Flow>> {
        let own = self.inner.gateway.name.clone();
        let read = async move |mut store: Store| {
            let mut found = Vec::new();
            for gateway in store.gateways_with_flows().await?.iter().filter(|gateway| **gateway != own) {
                found.extend(last_of(&mut store, gateway, &wanted).await?);
            }
            Ok((store, found))
        };
        self.aside_on(&self.inner.flow_side, read).await
    }

    /// A flow of another gateway.
    pub(super) async fn flow_of_others(&self, id: FlowId) -> Result<Option<Flow>> {
        // A flow's name is the first that is written of it.
        let written = format!("{{\"id\":\"{id}\"");
        let read = async move |mut store: Store| {
            let rows = store.flows_around(id.0.cast_signed()).await?;
            let mut lines = rows.iter().flat_map(|(_, body)| body.split('\n'));
            let found = lines.find(|line| line.starts_with(&written)).and_then(parse);
            Ok((store, found))
        };
        self.aside_on(&self.inner.flow_side, read).await
    }
}

async fn last_of(store: &mut Store, gateway: &str, wanted: &Wanted) -> std::result::Result<Vec<Flow>, StoreError> {
    let account = wanted.account.as_ref().map(|(name, _)| name.as_str());
    let (mut found, mut before) = (Vec::new(), i64::MAX);
    while found.len() < wanted.limit {
        let rows = store.flows_of(gateway, account, before, wanted.end()).await?;
        let Some((last, _)) = rows.last() else { break };
        before = *last;
        let flows = rows.iter().flat_map(|(_, body)| body.rsplit('\n')).filter_map(parse);
        found.extend(flows.filter(|flow| wanted.fits(flow)).take(wanted.limit - found.len()));
    }
    Ok(found)
}

/// The last `limit` flows of all, in the order in which they ended.
pub(super) fn merged(mut flows: Vec<Flow>, limit: usize) -> Vec<Flow> {
    flows.sort_by_cached_key(|flow| -> End { end(flow) });
    flows.drain(..flows.len().saturating_sub(limit));
    flows
}
