//! Against real files, with a data plane that writes down what it was given.

mod audit;
mod certificates;
mod changes;
mod postgres;
mod routes;
mod trouble;
