//! A record as somebody types it in at their DNS provider.

use std::fmt;

use hickory_proto::rr::Record;
use serde::{Deserialize, Serialize};

/// A record that is to be made, or was seen. Names are without the dot at their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// Of which name.
    pub name: String,
    /// Its type, such as `CNAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How long others keep it, in seconds; `None`: as the provider likes.
    pub ttl: Option<u32>,
    /// What it says, as a zone file writes it.
    pub value: String,
}

impl DnsRecord {
    /// A record of this type.
    pub fn new(name: impl fmt::Display, kind: &str, value: impl fmt::Display) -> Self {
        Self { name: bare(&name), kind: kind.to_owned(), ttl: None, value: bare(&value) }
    }
}

/// A line of a zone file.
impl fmt::Display for DnsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, ttl, value } = self;
        write!(f, "{name}. ")?;
        if let Some(ttl) = ttl {
            write!(f, "{ttl} ")?;
        }
        match &**kind {
            "CNAME" | "ALIAS" | "NS" => write!(f, "IN {kind} {value}."),
            "TXT" => write!(f, "IN {kind} \"{value}\""),
            _ => write!(f, "IN {kind} {value}"),
        }
    }
}

impl From<&Record> for DnsRecord {
    fn from(record: &Record) -> Self {
        let (name, kind) = (bare(&record.name), record.record_type().to_string());
        Self { name, kind, ttl: Some(record.ttl), value: bare(&record.data) }
    }
}

pub(crate) fn bare(name: &impl fmt::Display) -> String {
    let text = name.to_string();
    text.strip_suffix('.').map_or_else(|| text.clone(), str::to_owned)
}
