//! Inbound, through the front door: routes of both modes, added as a user adds them, asked for by real clients.

mod abuse;
mod actions;
mod answers;
mod balance;
mod behind;
mod clients;
mod guard;
mod h2;
mod h2_to_h1;
mod keep;
mod limits;
mod live;
mod names;
mod passthrough;
mod smuggling;
pub mod support;
mod terminate;
