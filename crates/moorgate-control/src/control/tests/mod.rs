//! Against real files, with a data plane that writes down what it was given.

mod changes;
mod trouble;
