//! What an operator can do, and the store: accounts, credentials, tokens, policies, flows, snapshots.
