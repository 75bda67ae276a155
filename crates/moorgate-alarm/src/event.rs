//! What is told: the body of a webhook, and the text of a mail.

use serde::{Deserialize, Serialize};

/// What is told, as a webhook's body has it. Its three fields are those of Standard Webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The kind, and what became of it: `certificate.begun`, `certificate.worse`, `certificate.over`; or `test`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was first told (RFC 3339). The same when it is tried again.
    pub timestamp: String,
    /// The rest.
    pub data: Matter,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matter {
    /// Whose.
    pub account: String,
    /// On what: a domain, a credential's username, a quota.
    pub about: String,
    /// What happened, in one sentence.
    pub said: String,
    /// What to do; empty: nothing.
    pub todo: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// Where the console shows more.
    pub link: String,
}

impl Event {
    /// A mail's subject. `said` may hold what others have named: one line, and not a long one.
    pub(crate) fn subject(&self) -> String {
        const MOST: usize = 120;
        let Matter { account, said, .. } = &self.data;
        let line: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
        format!("Moorgate, {account}: {line}")
    }

    /// A mail's text.
    pub(crate) fn text(&self) -> String {
        let Matter { account, about, said, todo, since, link } = &self.data;
        let todo = if todo.is_empty() { String::new() } else { format!("{todo}\n\n") };
        format!(
            "{said}\n\n{todo}Account: {account}\nOn: {about}\nSince: {since}\n\n{link}\n\n-- \nThis gateway tells the receivers \
             of the account's alarms; they are listed on its page Alarms.\n"
        )
    }
}
