//! The store. What is above this module knows rows and transactions, never SQL.

pub(crate) mod sqlite;

pub(crate) use sqlite::{Opening, Store, Tx};
