//! Inbound, through the front door: routes of both modes, added as a user adds them, asked for by real clients.

mod actions;
mod balance;
mod behind;
mod clients;
mod keep;
mod live;
mod names;
mod passthrough;
mod smuggling;
mod support;
mod terminate;
