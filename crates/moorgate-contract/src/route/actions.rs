//! What a route does to its clients' requests and its origins' responses.
//!
//! The order is fixed, and is the order of the fields of [`Actions`]: clients, HTTP to HTTPS, maintenance, redirects,
//! basic auth, body size; then the request's header edits, and the response's. A new action is a field here, a line in
//! `moorgate-proxy`'s `actions.rs` at its place in the order, and a flag of `moorgate route set`.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::account::SecretHash;

/// Most entries of one list of an action: they are walked one by one.
pub const MAX_ACTION_ITEMS: usize = 200;
/// Most bytes of a maintenance page.
pub const MAX_PAGE_BYTES: usize = 64 * 1024;

/// The actions of a route, in the order in which they are taken. Passthrough routes have `clients` only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Actions {
    /// 1. Which client addresses may come.
    #[serde(skip_serializing_if = "ClientRules::is_empty")]
    pub clients: ClientRules,
    /// 2. What a request over plain HTTP gets.
    pub on_http: OnHttp,
    /// 3. A page in place of the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// 4. Paths that have moved; the first that fits is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<PathRedirect>,
    /// 5. Who may come: one of these, by HTTP Basic (RFC 7617); nobody is asked when it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub basic_auth: Vec<BasicUser>,
    /// 6. The most bytes of a request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// 7. The request's header fields.
    #[serde(skip_serializing_if = "HeaderEdits::is_empty")]
    pub request_headers: HeaderEdits,
    /// 8. The response's header fields.
    #[serde(skip_serializing_if = "HeaderEdits::is_empty")]
    pub response_headers: HeaderEdits,
}

/// Client addresses: deny wins; with any allow, whoever no rule matches is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientRules {
    /// Who may come; empty: everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpNet>,
    /// Who may not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpNet>,
}

impl ClientRules {
    fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// The rule that keeps `client` out, in words; `None`: it may come.
    pub fn refuse(&self, client: std::net::IpAddr) -> Option<String> {
        let client = client.to_canonical();
        if let Some(net) = self.deny.iter().find(|net| net.contains(&client)) {
            return Some(format!("deny {net}"));
        }
        let shut_out = !self.allow.is_empty() && !self.allow.iter().any(|net| net.contains(&client));
        shut_out.then(|| "no allowed network has it".to_owned())
    }
}

/// In words, without a client.
impl fmt::Display for ClientRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nets = |nets: &[IpNet]| nets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
        match (&*self.deny, &*self.allow) {
            ([], []) => f.write_str("every address may come"),
            ([], allow) => write!(f, "{} may come, nobody else", nets(allow)),
            (deny, []) => write!(f, "{} may not come, everybody else may", nets(deny)),
            (deny, allow) => write!(f, "{} may come, nobody else, and {} may not", nets(allow), nets(deny)),
        }
    }
}

/// What a terminate route does with plain HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnHttp {
    /// 308 to the same URL over https.
    #[default]
    Redirect,
    /// As over https.
    Forward,
}

/// A page that is served instead of the app, with status 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// HTML, or plain text if it does not begin with `<`.
    pub page: String,
    /// What Retry-After says, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// A path that has moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRedirect {
    /// A path; with `/*` at its end everything below it too.
    pub from: String,
    /// A path or a URL; with `/*` at its end what stood for the other `*` is put there.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "permanent")]
    pub status: u16,
}

/// As many redirects as browsers follow.
const HOPS: usize = 20;

fn permanent() -> u16 {
    308
}

impl PathRedirect {
    /// Where `path` (canonical) leads by this redirect, query kept.
    pub fn target(&self, path: &str, query: Option<&str>) -> Option<String> {
        let mut to = match self.from.strip_suffix("/*") {
            None if self.from == path => self.to.clone(),
            None => return None,
            Some(base) => {
                let below = path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
                match self.to.strip_suffix("/*") {
                    Some(to) => format!("{to}{}", if below.is_empty() { "/" } else { below }),
                    None => self.to.clone(),
                }
            }
        };
        if let Some(query) = query
            && !to.contains('?')
        {
            to.push('?');
            to.push_str(query);
        }
        Some(to)
    }
}

impl Actions {
    /// Where a path (canonical) leads: by the first redirect that fits, with its status.
    pub fn redirected(&self, path: &str, query: Option<&str>) -> Option<(u16, String)> {
        self.redirects.iter().find_map(|redirect| Some((redirect.status, redirect.target(path, query)?)))
    }

    /// A redirect after which there is no end to being redirected, be it by itself or by others.
    pub fn circle(&self) -> Option<&PathRedirect> {
        self.redirects.iter().find(|first| {
            let mut to = first.to.strip_suffix("/*").unwrap_or(&first.to).to_owned();
            for _ in 0..HOPS {
                // What is another host's is out of sight.
                let path = to.split(['?', '#']).next().filter(|path| path.starts_with('/'));
                let Some((_, next)) = path.and_then(|path| self.redirected(path, None)) else { return false };
                to = next;
            }
            true
        })
    }
}

/// Somebody who may come, by HTTP Basic. The password is kept as a keyed hash, like a credential's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicUser {
    /// Without a colon.
    pub username: String,
    /// Of username and password.
    pub hash: SecretHash,
}

/// Edits of header fields: removed first, then set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdits {
    /// Names of fields to take away, in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields to put in the place of all of that name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HeaderField>,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}

/// A header field to set. Its value may be a secret of the app's, so it is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderField {
    /// In lower case.
    pub name: String,
    /// Without control bytes.
    pub value: String,
}

impl fmt::Debug for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}
