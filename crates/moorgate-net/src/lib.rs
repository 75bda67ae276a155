//! Sockets: accept, resolve, connect, relay. Links no TLS or HTTP library: what runs here can't decrypt.

pub mod buffer;
pub mod connect;
pub mod descriptors;
pub mod farewell;
pub mod holder;
pub mod leg;
pub mod listener;
pub mod pace;
pub mod ports;
pub mod presence;
pub mod registry;
pub mod relay;
pub mod resolver;
pub mod runtime;
pub mod socket;
pub mod workers;
