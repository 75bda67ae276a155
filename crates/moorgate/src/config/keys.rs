//! Every key there is, and what it is called in the environment.

use strsim::damerau_levenshtein;

/// Beyond this, how far two sections' names differ says nothing any more.
const MOST_SECTION_DISTANCE: usize = 3;

/// A key of the gateway's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// `""` for a key that stands before the first section.
    pub(crate) section: &'static str,
    /// The name within its section.
    pub(crate) name: &'static str,
    /// What this version does with it.
    pub(crate) kind: Kind,
}

/// What a key is to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Read. An empty variable counts as unset.
    Plain,
    /// Read; an empty variable is the empty list.
    List,
    /// Read; in the environment also as `…_FILE`, the name of a file that holds the value.
    Secret,
    /// A secret whose file is a key of its own.
    Hidden,
    /// A later version's: refused, unless it says "none".
    Later,
}

impl Key {
    /// As the documentation writes it: `limits.head`.
    pub(crate) fn dotted(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }

    /// Its variable: `MOORGATE_LIMITS_HEAD`.
    pub(crate) fn variable(&self) -> String {
        format!("MOORGATE_{}", self.dotted().replace('.', "_").to_uppercase())
    }
}

const fn key(section: &'static str, name: &'static str) -> Key {
    Key { section, name, kind: Kind::Plain }
}

const fn list(section: &'static str, name: &'static str) -> Key {
    Key { section, name, kind: Kind::List }
}

const fn later(section: &'static str, name: &'static str) -> Key {
    Key { section, name, kind: Kind::Later }
}

/// All of them, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key("", "data_dir"),
    Key { section: "store", name: "url", kind: Kind::Secret },
    Key { section: "secrets", name: "master_key", kind: Kind::Hidden },
    key("secrets", "master_key_file"),
    key("secrets", "previous_master_key_file"),
    list("inbound", "http"),
    list("inbound", "tls"),
    list("inbound", "trust_proxy_protocol_from"),
    list("outbound", "http"),
    list("outbound", "socks"),
    list("outbound", "https"),
    list("outbound", "socks_tls"),
    key("outbound", "hostname"),
    list("egress", "addresses"),
    list("egress", "allow_private_destinations"),
    list("resolver", "servers"),
    key("limits", "head"),
    key("limits", "handshake"),
    key("limits", "resolve"),
    key("limits", "connect"),
    key("limits", "response"),
    key("limits", "body"),
    key("limits", "idle_request"),
    key("limits", "idle_tunnel"),
    key("limits", "drain"),
    key("limits", "connections"),
    key("limits", "connections_per_account"),
    key("limits", "unauthenticated_per_client"),
    key("limits", "inbound_per_client"),
    key("usage", "keep"),
    key("acme", "directory"),
    key("acme", "contact"),
    key("acme", "trust"),
    key("acme", "profile"),
    key("acme", "eab_key_id"),
    Key { section: "acme", name: "eab_hmac_key", kind: Kind::Secret },
    key("smtp", "url"),
    key("smtp", "password_file"),
    key("smtp", "from"),
    key("smtp", "trust"),
    key("dns", "zone"),
    list("dns", "addresses"),
    list("dns", "listen"),
    list("dns", "resolvers"),
    key("console", "listen"),
    key("console", "hostname"),
    key("console", "sign_up"),
    key("openid", "issuer"),
    key("openid", "client_id"),
    Key { section: "openid", name: "client_secret", kind: Kind::Secret },
    key("openid", "name"),
    key("openid", "trust"),
    key("openid", "trust_email"),
    list("openid", "domains"),
    key("openid", "account"),
    key("openid", "role"),
    later("metrics", "listen"),
    key("log", "format"),
    key("log", "flows"),
    key("log", "keep"),
    key("cluster", "name"),
    later("cluster", "peer"),
];

/// The key with this section and name.
pub(crate) fn find(section: &str, name: &str) -> Option<Key> {
    KEYS.iter().copied().find(|key| key.section == section && key.name == name)
}

/// Whether there is such a section.
pub(crate) fn is_section(section: &str) -> bool {
    !section.is_empty() && KEYS.iter().any(|key| key.section == section)
}

/// The key that somebody who wrote `name` in `section` most likely meant; never one that this version refuses. Of several as
/// near, one that everybody has sooner than a list.
pub(crate) fn nearest_key(section: &str, name: &str) -> String {
    let distance = |key: &&Key| {
        let sections = damerau_levenshtein(key.section, section).min(MOST_SECTION_DISTANCE);
        (damerau_levenshtein(key.name, name) + sections, key.kind == Kind::List)
    };
    KEYS.iter().filter(|key| key.kind != Kind::Later).min_by_key(distance).map(Key::dotted).unwrap_or_default()
}

/// The section that somebody who wrote `section` most likely meant.
pub(crate) fn nearest_section(section: &str) -> &'static str {
    let sections = KEYS.iter().map(|key| key.section).filter(|section| !section.is_empty());
    sections.min_by_key(|known| damerau_levenshtein(known, section)).unwrap_or_default()
}
