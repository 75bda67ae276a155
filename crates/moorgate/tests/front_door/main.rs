//! Through the front door: a real gateway as its own process, real sockets, real clients, real servers.
//!
//! Every test has its own data directory and binds port 0, so all run side by side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod acme;
mod agent;
mod alarms;
mod api;
mod at_rest;
mod clients;
mod console;
mod console_inbound;
mod console_shared;
mod console_snippets;
mod demo;
mod dns;
mod doors;
mod egress;
mod failures;
mod first_run;
mod flows;
mod gateway;
mod guard;
mod inbound;
mod limits;
mod live;
mod namespace;
mod shared;
mod site;
mod syscalls;
mod talk;
mod target;
mod tenants;
mod tools;
mod wire;
mod zone;
