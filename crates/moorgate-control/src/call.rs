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
    /// What it was decided upon: it is done only while this is the version of all that is stored, by whichever gateway.
    /// `None`: in any case.
    pub upon: Option<u64>,
    /// Under which key: it is done once for each, on whichever gateway it is asked again, for a day.
    pub once: Option<Once>,
}

/// A key that a caller chose for one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// A digest of the key and of whose it is.
    pub key: [u8; 32],
    /// A digest of what is asked.
    pub asked: [u8; 32],
}
