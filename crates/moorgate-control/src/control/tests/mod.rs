//! Against real files, with a data plane that writes down what it was given.

mod alarms;
mod apply;
mod audit;
mod certificates;
mod changes;
mod domains;
mod people;
mod poison;
mod postgres;
mod proofs;
mod routes;
mod sealed;
mod secrets;
mod shared_flows;
mod shared_quotas;
mod tenants;
mod tls;
mod trouble;
