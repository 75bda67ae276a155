//! Against real files, with a data plane that writes down what it was given.

mod certificates;
mod changes;
mod routes;
mod trouble;
