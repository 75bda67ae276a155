//! What could be read of a flow, and by whom.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::listener::{Listener, Product};

/// What could be read at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readable {
    /// The target's name or address.
    pub name: bool,
    /// The target's port.
    pub port: bool,
    /// The proxy's username and password.
    pub credentials: bool,
    /// Path and query of an HTTP request.
    pub path: bool,
    /// HTTP header fields.
    pub headers: bool,
    /// The body of an HTTP message.
    pub body: bool,
}

impl Readable {
    const NOTHING: Self =
        Self { name: false, port: false, credentials: false, path: false, headers: false, body: false };
    const DESTINATION: Self = Self { name: true, port: true, ..Self::NOTHING };
    const MESSAGE: Self = Self { path: true, headers: true, body: true, ..Self::DESTINATION };

    /// One bit for each field, the first one's the lowest.
    pub(crate) fn bits(self) -> u8 {
        let fields = [self.name, self.port, self.credentials, self.path, self.headers, self.body];
        fields.iter().rev().fold(0, |bits, field| bits << 1 | u8::from(*field))
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        let [name, port, credentials, path, headers, body] = std::array::from_fn(|at| bits >> at & 1 == 1);
        Self { name, port, credentials, path, headers, body }
    }
}

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.name, "name"),
            (self.port, "port"),
            (self.credentials, "password"),
            (self.path, "path"),
            (self.headers, "headers"),
            (self.body, "body"),
        ];
        let mut said = false;
        for (_, word) in parts.iter().filter(|(is, _)| *is) {
            f.write_str(if said { ", " } else { "" })?;
            f.write_str(word)?;
            said = true;
        }
        if said { Ok(()) } else { f.write_str("nothing") }
    }
}

/// What a tunnel's bytes looked like, from the first of them: we forward them unread, yet whoever is on the way could look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// No byte came from the client.
    #[default]
    None,
    /// The client began a TLS handshake inside the tunnel.
    Tls,
    /// The client began with something else: whatever it was, it was not TLS from the start.
    NotTls,
    /// An HTTP message that we parsed.
    Http,
}

/// What could be read of a flow on each part of its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// On the wire from the client to the gateway.
    pub wire_to_gateway: Readable,
    /// By the gateway.
    pub gateway: Readable,
    /// On the wire from the gateway to the target.
    pub wire_to_target: Readable,
    /// What the bytes looked like.
    pub content: Content,
}

impl Exposure {
    /// What asking alone exposes on `listener`, whether or not anything comes of it: the head has crossed the wire to us,
    /// and nothing has gone any further.
    pub fn asked(listener: Listener, named: bool, credentials: bool, message: bool) -> Self {
        let gateway = Readable { name: named, port: named, credentials, path: message, headers: message, body: false };
        let wire_to_gateway = match listener.product() {
            Some(Product::Shield) => Readable::NOTHING,
            Some(Product::Static) | None => gateway,
        };
        Self { wire_to_gateway, gateway, ..Self::default() }
    }

    /// What an outbound flow exposes on `listener`, with bytes that look like `content`.
    pub fn outbound(listener: Listener, content: Content) -> Self {
        let carried = match content {
            Content::Http | Content::NotTls => Readable::MESSAGE,
            Content::Tls | Content::None => Readable::DESTINATION,
        };
        let gateway = Readable { credentials: true, ..carried };
        let wire_to_gateway = match listener.product() {
            Some(Product::Shield) => Readable::NOTHING,
            Some(Product::Static) | None => gateway,
        };
        Self { wire_to_gateway, gateway, wire_to_target: carried, content }
    }
}

/// How a kept flow has it: it is most of what a flow would fill otherwise.
pub(crate) mod short {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Content, Exposure, Readable};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Short(u8, u8, u8, Content),
        // As it was kept before.
        Long(Exposure),
    }

    pub(crate) fn serialize<S: Serializer>(exposure: &Exposure, serializer: S) -> Result<S::Ok, S::Error> {
        let Exposure { wire_to_gateway, gateway, wire_to_target, content } = exposure;
        (wire_to_gateway.bits(), gateway.bits(), wire_to_target.bits(), content).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Exposure, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::Long(exposure) => exposure,
            Either::Short(wire_to_gateway, gateway, wire_to_target, content) => {
                let [wire_to_gateway, gateway, wire_to_target] =
                    [wire_to_gateway, gateway, wire_to_target].map(Readable::from_bits);
                Exposure { wire_to_gateway, gateway, wire_to_target, content }
            }
        })
    }
}

/// How an inbound flow is carried on each side of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The client's TLS goes by unread.
    PassedThrough,
    /// HTTP that we act upon.
    ActedUpon {
        /// Whether the client's side is TLS.
        client_tls: bool,
        /// Whether the origin's side is TLS.
        origin_tls: bool,
    },
}

impl Exposure {
    /// What an inbound flow exposes. The server name stands in the clear in every ClientHello (RFC 6066 §3).
    pub fn inbound(carried: Carried) -> Self {
        let wire = |tls| if tls { Readable::DESTINATION } else { Readable::MESSAGE };
        match carried {
            Carried::PassedThrough => Self {
                wire_to_gateway: Readable::DESTINATION,
                gateway: Readable::DESTINATION,
                wire_to_target: Readable::DESTINATION,
                content: Content::Tls,
            },
            Carried::ActedUpon { client_tls, origin_tls } => Self {
                wire_to_gateway: wire(client_tls),
                gateway: Readable::MESSAGE,
                wire_to_target: wire(origin_tls),
                content: Content::Http,
            },
        }
    }

    /// What an inbound request exposes that goes no further than the gateway.
    pub fn inbound_asked(client_tls: bool, message: bool) -> Self {
        let gateway = if message { Readable { body: false, ..Readable::MESSAGE } } else { Readable::DESTINATION };
        Self { wire_to_gateway: if client_tls { Readable::DESTINATION } else { gateway }, gateway, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shield_hides_destination_and_password_from_the_wire_to_us() {
        let shield = Exposure::outbound(Listener::OutboundHttps, Content::Tls);
        assert_eq!(shield.wire_to_gateway.to_string(), "nothing");
        assert_eq!(shield.gateway.to_string(), "name, port, password");
        assert_eq!(shield.wire_to_target.to_string(), "name, port");
        let plain = Exposure::outbound(Listener::OutboundHttp, Content::Http);
        assert_eq!(plain.wire_to_gateway.to_string(), "name, port, password, path, headers, body");
        assert_eq!(plain.wire_to_target.to_string(), "name, port, path, headers, body");
    }

    #[test]
    fn a_kept_exposure_reads_back_as_it_was_however_it_was_kept() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Kept(#[serde(with = "short")] Exposure);
        let every =
            (0..64).flat_map(|bits| [Content::None, Content::Tls, Content::Http].map(|content| (bits, content)));
        for (bits, content) in every {
            let [wire_to_gateway, gateway, wire_to_target] = [bits, bits ^ 0x15, 63 - bits].map(Readable::from_bits);
            let exposure = Exposure { wire_to_gateway, gateway, wire_to_target, content };
            let (kept, long) =
                (serde_json::to_string(&Kept(exposure)).unwrap(), serde_json::to_string(&exposure).unwrap());
            assert!(kept.len() < 24, "{kept}");
            for text in [kept, long] {
                assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), Kept(exposure), "{text}");
            }
        }
    }
}
