//! Flows: kept, read and followed.

use std::sync::Arc;

use moorgate_contract::{
    flow::{Flow, FlowId},
    time::Timestamp,
};
use tokio::sync::broadcast;

use super::{Control, Inner, shared_flows::merged};
use crate::{
    error::Result,
    flows::{Before, FlowFilter, Wanted, end},
    limits::MAX_FLOWS_READ,
};

impl Control {
    /// Keeps ended flows and shows them to followers. Never fails: what can't be kept is counted
    /// ([`Status::flows_lost`](crate::Status)).
    pub async fn record_flows(&self, mut flows: Vec<Flow>) {
        let inner = &self.inner;
        for flow in &mut flows {
            inner.carried(flow);
            inner.disown(flow);
        }
        if inner.follow.receiver_count() > 0 {
            for flow in &flows {
                // Whoever followed may have left.
                let _ = inner.follow.send(Arc::new(flow.clone()));
            }
        }
        inner.flows.record(&flows).await;
        inner.offer(flows);
    }

    /// The last flows that fit the filter, in the order in which they ended.
    ///
    /// # Errors
    /// [`ControlError::NotFound`](crate::ControlError) for an account that does not exist;
    /// [`ControlError::StoreDown`](crate::ControlError).
    pub async fn flows(&self, filter: FlowFilter) -> Result<Vec<Flow>> {
        self.flows_before(filter, None).await
    }

    /// As [`Control::flows`], of those that ended before the flow `before`; none when that is not kept any more.
    ///
    /// # Errors
    /// As for [`Control::flows`].
    pub async fn flows_before(&self, filter: FlowFilter, before: Option<FlowId>) -> Result<Vec<Flow>> {
        let limit = filter.limit.clamp(1, MAX_FLOWS_READ);
        let account = filter.account.map(|name| self.inner.account_row(&name)).transpose()?;
        let account = account.map(|row| (row.name, row.created));
        let mut flows = if self.inner.is_shared() {
            self.flows_of_all(account, limit, before).await?
        } else {
            let before = before.map_or(Before::Everything, Before::Flow);
            self.inner.flows.last(Wanted { account, limit, before }).await?
        };
        flows.iter_mut().for_each(|flow| self.inner.disown(flow));
        Ok(flows)
    }

    /// Of every gateway on the store; while that is down, of this one.
    async fn flows_of_all(
        &self,
        account: Option<(String, Timestamp)>,
        limit: usize,
        before: Option<FlowId>,
    ) -> Result<Vec<Flow>> {
        let before = match before {
            None => Before::Everything,
            Some(id) => match self.find_flow(id).await? {
                Some(flow) => Before::End(end(&flow)),
                None => return Ok(Vec::new()),
            },
        };
        let wanted = Wanted { account, limit, before };
        let others = self.flows_of_others(wanted.clone()).await;
        let mut flows = self.inner.flows.last(wanted).await?;
        flows.iter_mut().for_each(|flow| self.inner.carried(flow));
        flows.extend(others.unwrap_or_default());
        Ok(merged(flows, limit))
    }

    async fn find_flow(&self, id: FlowId) -> Result<Option<Flow>> {
        let mut own = self.inner.flows.find(id).await?;
        own.iter_mut().for_each(|flow| self.inner.carried(flow));
        if own.is_some() || !self.inner.is_shared() {
            return Ok(own);
        }
        Ok(self.flow_of_others(id).await.unwrap_or_default())
    }

    /// One flow, if it is still kept.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`](crate::ControlError).
    pub async fn flow(&self, id: FlowId) -> Result<Option<Flow>> {
        let mut flow = self.find_flow(id).await?;
        flow.iter_mut().for_each(|flow| self.inner.disown(flow));
        Ok(flow)
    }

    /// Flows of this gateway from now on, as they end. Who lags too far behind misses some and is told how many.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Flow>> {
        self.inner.follow.subscribe()
    }
}

impl Inner {
    /// Says of a flow of this gateway that it is, where there may be others.
    fn carried(&self, flow: &mut Flow) {
        flow.gateway = self.is_shared().then(|| self.gateway.name.as_str().into());
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
