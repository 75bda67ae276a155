//! Flows: kept, read and followed.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use moorgate_contract::{
    flow::{EndedFlow, Flow, FlowId},
    time::Timestamp,
};
use tokio::sync::broadcast;

use super::{
    Control, Inner,
    shared_flows::{Unshared, merged},
    side::Side,
};
use crate::{
    error::Result,
    flows::{Before, FlowFilter, FlowStore, LatestFlows, Recorded, Wanted, end},
    limits::{FOLLOW_BUFFER, MAX_FLOWS_READ},
};

/// What is known of flows, and who is told of them.
pub(crate) struct Flows {
    pub(super) kept: FlowStore,
    /// A way to the store of their own: they are many.
    pub(super) side: Side,
    pub(super) unshared: Mutex<Unshared>,
    follow: broadcast::Sender<Arc<Recorded>>,
}

impl Flows {
    pub(super) fn new(data_dir: &Path, keep: u64) -> Self {
        let (side, unshared) = (Side::default(), Mutex::default());
        Self { kept: FlowStore::new(data_dir, keep), side, unshared, follow: broadcast::channel(FOLLOW_BUFFER).0 }
    }
}

impl Control {
    /// Keeps ended flows and shows them to followers. Never fails: what can't be kept is counted
    /// ([`Status::flows_lost`](crate::Status)).
    pub async fn record_flows(&self, mut flows: Vec<EndedFlow>) {
        let inner = &self.inner;
        flows.iter_mut().for_each(|flow| inner.disown(flow));
        if inner.flows.follow.receiver_count() > 0 {
            for flow in &flows {
                // Whoever followed may have left.
                let _ = inner.flows.follow.send(Arc::new(inner.carried(Flow::clone(flow))));
            }
        }
        inner.flows.kept.record(&flows).await;
        inner.offer(flows);
    }

    /// The last flows that fit the filter, in the order in which they ended.
    ///
    /// # Errors
    /// [`ControlError::NotFound`](crate::ControlError) for an account that does not exist;
    /// [`ControlError::StoreDown`](crate::ControlError).
    pub async fn flows(&self, filter: FlowFilter) -> Result<Vec<Recorded>> {
        self.flows_before(filter, None).await
    }

    /// As [`Control::flows`], of those that ended before the flow `before`; none when that is not kept any more.
    ///
    /// # Errors
    /// As for [`Control::flows`].
    pub async fn flows_before(&self, filter: FlowFilter, before: Option<FlowId>) -> Result<Vec<Recorded>> {
        let limit = filter.limit.clamp(1, MAX_FLOWS_READ);
        let account = filter.account.map(|name| self.inner.account_row(&name)).transpose()?;
        let account = account.map(|row| (row.name, row.created));
        let mut flows = if self.inner.is_shared() {
            self.flows_of_all(account, limit, before).await?
        } else {
            let before = before.map_or(Before::Everything, Before::Flow);
            let own = self.inner.flows.kept.last(Wanted { account, limit, before }).await?;
            own.into_iter().map(|flow| self.inner.carried(flow)).collect()
        };
        flows.iter_mut().for_each(|recorded| self.inner.disown(&mut recorded.flow));
        Ok(flows)
    }

    /// The last flows of an account, at most so many: also more than one call of [`Control::flows`] reads.
    ///
    /// # Errors
    /// As for [`Control::flows`].
    pub async fn latest_flows(&self, account: &str, most: usize) -> Result<LatestFlows> {
        let (mut pages, mut count, mut before) = (Vec::new(), 0, None);
        let mut is_cut = false;
        while count < most {
            let filter = FlowFilter { account: Some(account.to_owned()), limit: MAX_FLOWS_READ.min(most - count) };
            let limit = filter.limit;
            let page = self.flows_before(filter, before).await?;
            before = page.first().map(|recorded| recorded.flow.id);
            is_cut = page.len() == limit;
            count += page.len();
            pages.push(page);
            if !is_cut {
                break;
            }
        }
        Ok(LatestFlows { flows: pages.into_iter().rev().flatten().collect(), is_cut })
    }

    /// Of every gateway on the store; while that is down, of this one.
    async fn flows_of_all(
        &self,
        account: Option<(String, Timestamp)>,
        limit: usize,
        before: Option<FlowId>,
    ) -> Result<Vec<Recorded>> {
        let before = match before {
            None => Before::Everything,
            Some(id) => match self.find_flow(id).await? {
                Some(recorded) => Before::End(end(&recorded.flow)),
                None => return Ok(Vec::new()),
            },
        };
        let wanted = Wanted { account, limit, before };
        let others = self.flows_of_others(wanted.clone()).await;
        let own = self.inner.flows.kept.last(wanted).await?;
        let own = own.into_iter().map(|flow| self.inner.carried(flow));
        Ok(merged(own.chain(others.unwrap_or_default()).collect(), limit))
    }

    async fn find_flow(&self, id: FlowId) -> Result<Option<Recorded>> {
        let own = self.inner.flows.kept.find(id).await?.map(|flow| self.inner.carried(flow));
        if own.is_some() || !self.inner.is_shared() {
            return Ok(own);
        }
        Ok(self.flow_of_others(id).await.unwrap_or_default())
    }

    /// Whether the flows of every gateway can be asked for now.
    pub fn knows_all_flows(&self) -> bool {
        !self.inner.is_shared() || self.inner.trouble().is_none()
    }

    /// One flow, if it is still kept.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`](crate::ControlError).
    pub async fn flow(&self, id: FlowId) -> Result<Option<Recorded>> {
        let mut found = self.find_flow(id).await?;
        found.iter_mut().for_each(|recorded| self.inner.disown(&mut recorded.flow));
        Ok(found)
    }

    /// Flows of this gateway from now on, as they end. Who lags too far behind misses some and is told how many.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.inner.flows.follow.subscribe()
    }
}

impl Inner {
    /// A flow of this gateway.
    fn carried(&self, flow: Flow) -> Recorded {
        Recorded { flow, gateway: self.is_shared().then(|| self.gateway.name.as_str().into()) }
    }

    /// A flow older than the account of its name belonged to another account of that name: a tenant who is given a
    /// name that was used before must not see what the one before did.
    fn disown(&self, flow: &mut Flow) {
        if let Some(name) = &flow.account
            && self.book().account(name).is_some_and(|row| flow.started < row.created)
        {
            flow.account = None;
        }
    }
}
