//! What the control plane asks of the data plane.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use moorgate_contract::{decide::Destination, egress::Presence, failure::Failure, snapshot::Snapshot};
use moorgate_control::{Plane, PortsInUse};
use moorgate_net::{connect::Connector, ports::local_range};
use moorgate_proxy::gateway::Gateway;
use moorgate_wire::name::DomainName;

use super::certificates::OwnCertificate;

/// The running gateway, as control sees it.
pub(super) struct TrafficPlane {
    gateway: Arc<Gateway>,
    connector: Connector,
    own: Vec<OwnCertificate>,
}

impl TrafficPlane {
    /// `connector` is control's own; `own` show what is issued for the gateway's names.
    pub(super) fn new(gateway: Arc<Gateway>, connector: Connector, own: Vec<OwnCertificate>) -> Self {
        Self { gateway, connector, own }
    }
}

impl Plane for TrafficPlane {
    fn publish(&self, snapshot: Arc<Snapshot>) {
        self.own.iter().for_each(|own| own.show(&snapshot));
        self.gateway.publish(snapshot);
    }

    fn presence(&self) -> Arc<Presence> {
        self.connector.presence().now()
    }

    fn ports_in_use(&self) -> Vec<PortsInUse> {
        let in_use = self.gateway.registry.ports_in_use().into_iter();
        in_use
            .map(|(toward, taken)| PortsInUse { egress: toward.egress, destination: toward.destination, taken })
            .collect()
    }

    fn ports(&self) -> Option<usize> {
        local_range().ok().map(|range| range.len())
    }

    fn clock(&self) -> Duration {
        self.gateway.clock()
    }

    fn places(&self) -> usize {
        self.gateway.limits.connections_per_account
    }

    fn resolve(&self, name: DomainName) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Failure>> + Send + '_>> {
        Box::pin(async move { Ok(self.connector.resolve(&Destination::Name(name)).await?.to_vec()) })
    }
}
