//! The console's snippet for reqwest, as it is: the tests run it.

include!("../../moorgate-console/snippets/reqwest.rs");
