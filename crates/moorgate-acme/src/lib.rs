//! Certificates from a CA by ACME (RFC 8555): an account, an order, what the CA looks for, and what it issues.
//!
//! Keeps nothing: accounts' keys, orders and certificates are the caller's. Every connection goes through the same guard as
//! traffic's.

mod ca;
mod fetch;
mod problem;

pub use ca::{Binding, Ca, Issued, Show, Wanted, Window};
pub use fetch::Fetch;
pub use problem::{Kind, Problem};
