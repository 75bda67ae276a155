//! The listeners of a gateway: what is spoken where, and for which product.

use serde::{Deserialize, Serialize};

/// One of the two products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// TLS termination.
    Static,
    /// TLS passthrough; to the proxy itself always TLS.
    Shield,
}

impl Product {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "Static",
            Self::Shield => "Shield",
        }
    }
}

/// What is spoken on a bound address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// Plain HTTP toward apps behind us.
    InboundHttp,
    /// TLS toward apps behind us, both modes.
    InboundTls,
    /// HTTP proxy (Static).
    OutboundHttp,
    /// SOCKS5 proxy (Static).
    OutboundSocks,
    /// HTTP proxy over TLS (Shield).
    OutboundHttps,
    /// SOCKS5 over TLS (Shield).
    OutboundSocksTls,
}

impl Listener {
    /// Every listener that carries traffic.
    pub const ALL: [Self; 6] = [
        Self::InboundHttp,
        Self::InboundTls,
        Self::OutboundHttp,
        Self::OutboundSocks,
        Self::OutboundHttps,
        Self::OutboundSocksTls,
    ];

    /// The name in flows, metrics and the gateway's file (`[inbound] http` is `inbound_http`).
    pub fn name(self) -> &'static str {
        match self {
            Self::InboundHttp => "inbound_http",
            Self::InboundTls => "inbound_tls",
            Self::OutboundHttp => "outbound_http",
            Self::OutboundSocks => "outbound_socks",
            Self::OutboundHttps => "outbound_https",
            Self::OutboundSocksTls => "outbound_socks_tls",
        }
    }

    /// The name in sentences.
    pub fn words(self) -> &'static str {
        match self {
            Self::InboundHttp => "inbound HTTP",
            Self::InboundTls => "inbound TLS",
            Self::OutboundHttp => "outbound HTTP proxy",
            Self::OutboundSocks => "outbound SOCKS5",
            Self::OutboundHttps => "outbound HTTPS proxy",
            Self::OutboundSocksTls => "outbound SOCKS5 over TLS",
        }
    }

    /// What is spoken to the proxy there, in a word: `http` or `socks`; inbound `http` or `tls`.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::InboundHttp | Self::OutboundHttp | Self::OutboundHttps => "http",
            Self::OutboundSocks | Self::OutboundSocksTls => "socks",
            Self::InboundTls => "tls",
        }
    }

    /// The product that an outbound listener belongs to; inbound it depends on the route.
    pub fn product(self) -> Option<Product> {
        match self {
            Self::OutboundHttp | Self::OutboundSocks => Some(Product::Static),
            Self::OutboundHttps | Self::OutboundSocksTls => Some(Product::Shield),
            Self::InboundHttp | Self::InboundTls => None,
        }
    }
}
