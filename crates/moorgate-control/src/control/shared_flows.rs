//! Flows of the other gateways on a store: each shows them what it did, a moment later or when the store is back.
//! A gateway's own file stays what it answers from; nothing here holds up traffic or what is written.

use std::{collections::VecDeque, mem, sync::Arc};

use moorgate_contract::flow::{EndedFlow, FlowId};

use super::{Control, Inner, now};
use crate::{
    error::{Result, StoreError, chain},
    flows::{Batch, End, Recorded, Wanted, end, parse},
    limits::FLOWS_WAITING,
    store::Store,
};

/// Flows that the other gateways have not been shown yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unshared {
    flows: VecDeque<EndedFlow>,
    /// How many there was no room for.
    left_out: usize,
}

impl Unshared {
    fn add(&mut self, flows: Vec<EndedFlow>) {
        self.flows.extend(flows);
        self.make_room();
    }

    /// Puts back what could not be shown.
    fn put_back(&mut self, flows: Vec<EndedFlow>) {
        flows.into_iter().rev().for_each(|flow| self.flows.push_front(flow));
        self.make_room();
    }

    fn make_room(&mut self) {
        let crowded = self.flows.len().saturating_sub(FLOWS_WAITING);
        self.flows.drain(..crowded);
        self.left_out += crowded;
    }
}

impl Inner {
    /// Whether other gateways may be on the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.store_url.server().is_some()
    }

    /// Puts flows aside for the other gateways.
    pub(crate) fn offer(&self, flows: Vec<EndedFlow>) {
        if !self.is_shared() {
            return;
        }
        super::lock(&self.flows.unshared).add(flows);
        self.signals.share.notify_one();
    }
}

impl Control {
    /// Shows the other gateways what waits to be shown. Says whether it could be; else it waits on, within a bound.
    pub(crate) async fn share(&self) -> bool {
        let flows = Arc::new(Vec::from(mem::take(&mut super::lock(&self.inner.flows.unshared).flows)));
        if flows.is_empty() {
            return true;
        }
        let (gateway, most) = (self.inner.gateway.name.clone(), self.inner.flows.kept.most());
        let shown = flows.clone();
        let work = async move |mut store: Store| {
            store.put_flows(&gateway, &Batch::all(&shown), most, now()).await?;
            Ok((store, ()))
        };
        if let Err(error) = self.aside_on(&self.inner.flows.side, work).await {
            tracing::debug!(error = chain(&error), "the other gateways are not shown now what this one did");
            super::lock(&self.inner.flows.unshared).put_back(Arc::unwrap_or_clone(flows));
            return false;
        }
        let left_out = mem::take(&mut super::lock(&self.inner.flows.unshared).left_out);
        if left_out > 0 {
            tracing::warn!(left_out, "the store was down or slow: other gateways miss some flows in their logs");
        }
        true
    }

    /// The last flows of other gateways that are wanted, in no order.
    pub(super) async fn flows_of_others(&self, wanted: Wanted) -> Result<Vec<Recorded>> {
        let own = self.inner.gateway.name.clone();
        let read = async move |mut store: Store| {
            let mut found = Vec::new();
            for gateway in store.gateways_with_flows().await?.iter().filter(|gateway| **gateway != own) {
                found.extend(last_of(&mut store, gateway, &wanted).await?);
            }
            Ok((store, found))
        };
        self.aside_on(&self.inner.flows.side, read).await
    }

    /// A flow of another gateway.
    pub(super) async fn flow_of_others(&self, id: FlowId) -> Result<Option<Recorded>> {
        // A flow's name is the first that is written of it.
        let written = format!("{{\"id\":\"{id}\"");
        let read = async move |mut store: Store| {
            let rows = store.flows_around(id.0.cast_signed()).await?;
            let mut lines = rows.iter().flat_map(|(gateway, body)| body.split('\n').map(move |line| (gateway, line)));
            let found = lines.find(|(_, line)| line.starts_with(&written));
            let found = found.and_then(|(gateway, line)| of_gateway(&gateway.as_str().into(), line));
            Ok((store, found))
        };
        self.aside_on(&self.inner.flows.side, read).await
    }
}

async fn last_of(store: &mut Store, gateway: &str, wanted: &Wanted) -> std::result::Result<Vec<Recorded>, StoreError> {
    let account = wanted.account.as_ref().map(|(name, _)| name.as_str());
    let name: Arc<str> = gateway.into();
    let (mut found, mut before) = (Vec::new(), i64::MAX);
    while found.len() < wanted.limit {
        let rows = store.flows_of(gateway, account, before, wanted.end()).await?;
        let Some((last, _)) = rows.last() else { break };
        before = *last;
        let flows = rows.iter().flat_map(|(_, body)| body.rsplit('\n'));
        let flows = flows.filter_map(|line| of_gateway(&name, line));
        found.extend(flows.filter(|recorded| wanted.fits(&recorded.flow)).take(wanted.limit - found.len()));
    }
    Ok(found)
}

fn of_gateway(name: &Arc<str>, line: &str) -> Option<Recorded> {
    Some(Recorded { flow: parse(line)?, gateway: Some(name.clone()) })
}

/// The last `limit` flows of all, in the order in which they ended.
pub(super) fn merged(mut flows: Vec<Recorded>, limit: usize) -> Vec<Recorded> {
    flows.sort_by_cached_key(|recorded| -> End { end(&recorded.flow) });
    // Written, and not known to be: then it was written again.
    flows.dedup_by_key(|recorded| recorded.flow.id);
    flows.drain(..flows.len().saturating_sub(limit));
    flows
}
