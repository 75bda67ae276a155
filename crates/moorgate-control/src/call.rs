//! Who asks for something.

use std::net::IpAddr;

use crate::views::Caller;

/// On whose behalf control does something: what the audit log says of it. The default is the gateway itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Whose token it was; `None`: the gateway does it by itself.
    pub by: Option<Caller>,
    /// The address it was asked from.
    pub from: Option<IpAddr>,
}
