//! What is promised: which party can read which secret, for each product and each way.

use moorgate_contract::listener::Product;

use super::secrets::Secret;

/// Which way a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From an app through the proxy, over TLS with the destination.
    OutboundHttps,
    /// From an app through the proxy, in plaintext with the destination.
    OutboundHttp,
    /// From a client to a domain behind the gateway; its origin speaks TLS.
    Inbound,
}

impl Way {
    /// In the order of the table.
    pub(super) const ALL: [Self; 3] = [Self::OutboundHttps, Self::OutboundHttp, Self::Inbound];

    /// In file names and in the JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OutboundHttps => "outbound-https",
            Self::OutboundHttp => "outbound-http",
            Self::Inbound => "inbound",
        }
    }
}

/// Who might read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// Whoever listens between client and gateway.
    WireToGateway,
    /// The gateway, with the keys that it has.
    Gateway,
    /// Whoever listens between gateway and target.
    WireToTarget,
}

impl Party {
    /// In the order of the table.
    pub(super) const ALL: [Self; 3] = [Self::WireToGateway, Self::Gateway, Self::WireToTarget];

    /// In the JSON; the words are those of a flow's `exposure`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WireToGateway => "wire_to_gateway",
            Self::Gateway => "gateway",
            Self::WireToTarget => "wire_to_target",
        }
    }

    /// In file names.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::WireToGateway => "to-gateway",
            Self::Gateway => "gateway",
            Self::WireToTarget => "to-target",
        }
    }

    /// In the table.
    pub(super) fn words(self, way: Way) -> &'static str {
        match (self, way) {
            (Self::WireToGateway, Way::Inbound) => "wire, client → gateway",
            (Self::WireToGateway, _) => "wire, app → gateway",
            (Self::Gateway, _) => "the gateway",
            (Self::WireToTarget, Way::Inbound) => "wire, gateway → origin",
            (Self::WireToTarget, _) => "wire, gateway → dest.",
        }
    }
}

/// What is promised of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// It can be read there: it is said, not hidden.
    Read,
    /// It cannot be read there.
    Hidden,
    /// There is no such secret on this way.
    None,
}

/// The promise for one cell.
pub(super) fn promise(way: Way, product: Product, party: Party, secret: Secret) -> Promise {
    use {Party::*, Product::*, Way::*};
    // Name, password, path, header, body.
    let row = match (way, product, party) {
        (OutboundHttps, Static, WireToGateway) => "RR---",
        (OutboundHttps, Shield, WireToGateway) => "-----",
        (OutboundHttps, _, Gateway) => "RR---",
        (OutboundHttps, _, WireToTarget) => "R----",
        (OutboundHttp, Static, WireToGateway) => "RRRRR",
        (OutboundHttp, Shield, WireToGateway) => "-----",
        (OutboundHttp, _, Gateway) => "RRRRR",
        (OutboundHttp, _, WireToTarget) => "R-RRR",
        (Inbound, _, WireToGateway) => "R.---",
        (Inbound, Static, Gateway) => "R.RRR",
        (Inbound, Shield, Gateway) => "R.---",
        (Inbound, _, WireToTarget) => "R.---",
    };
    let column = Secret::ALL.iter().position(|own| *own == secret);
    match column.and_then(|column| row.as_bytes().get(column)) {
        Some(b'R') => Promise::Read,
        Some(b'-') => Promise::Hidden,
        _ => Promise::None,
    }
}
