//! What crosses between the data plane and the control plane, and the two pure decisions on it:
//! [`decide`](decide::decide) (name, port, credential, policy) and [`admit`](admit::admit) (addresses, after resolution).
//!
//! Nothing here does I/O or reads a clock: time and addresses are given.

pub mod account;
pub mod admit;
pub mod attached;
pub mod balance;
pub mod certificate;
pub mod decide;
pub mod egress;
pub mod exposure;
pub mod failure;
pub mod flow;
pub mod guard;
pub mod inbound;
pub mod limits;
pub mod listener;
pub mod outcome;
pub mod pace;
pub mod policy;
pub mod quota;
pub mod route;
mod rules;
pub mod snapshot;
pub mod time;
pub mod usage;
