//! Listeners, heads and tails. A connection lives through accept, peek, decide, connect, relay, record, in this order;
//! one function per listener shows all of it: [`outbound`] and [`inbound`].

pub mod gateway;
pub mod recorder;
pub mod serve;

mod client;
mod echo;
mod exchange;
mod h2_server;
mod handshake;
mod head;
mod inbound;
mod outbound;
mod refuse;
mod tunnel;

#[cfg(any(test, feature = "fuzzing"))]
pub use inbound::fuzzing;
pub use inbound::{look_after_origins, source_of};
