//! The zone in which every route has its target: the name that its domain's CNAME points at.
//!
//! [`zone`] is a question in and records out, [`message`] a packet in and a packet out; [`server`] holds the sockets. Knows
//! neither store nor routes nor proxy.

pub mod check;
pub mod claim;
pub mod client;
pub mod look;
pub mod message;
mod record;
pub mod server;
pub mod zone;

pub use record::DnsRecord;
