//! Flows: kept, read and followed.

use std::sync::Arc;

use moorgate_contract::flow::{Flow, FlowId};
use tokio::sync::broadcast;

use super::{Control, Inner};
use crate::{
    error::Result,
    flows::{FlowFilter, Wanted},
    limits::MAX_FLOWS_READ,
};

impl Control {
    /// Keeps ended flows and shows them to followers. Never fails: what can't be kept is counted
    /// ([`Status::flows_lost`](crate::Status)).
    pub async fn record_flows(&self, mut flows: Vec<Flow>) {
        let inner = &self.inner;
        flows.iter_mut().for_each(|flow| inner.disown(flow));
        if inner.follow.receiver_count() > 0 {
            for flow in &flows {
                // Whoever followed may have left.
                let _ = inner.follow.send(Arc::new(flow.clone()));
            }
        }
        inner.flows.record(&flows).await;
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
        let mut flows = self.inner.flows.last(Wanted { account, limit, before }).await?;
        flows.iter_mut().for_each(|flow| self.inner.disown(flow));
        Ok(flows)
    }

    /// One flow, if it is still kept.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`](crate::ControlError).
    pub async fn flow(&self, id: FlowId) -> Result<Option<Flow>> {
        let mut flow = self.inner.flows.find(id).await?;
        flow.iter_mut().for_each(|flow| self.inner.disown(flow));
        Ok(flow)
    }

    /// Flows from now on, as they end. Who lags too far behind misses some and is told how many.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Flow>> {
        self.inner.follow.subscribe()
    }
}

impl Inner {
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
