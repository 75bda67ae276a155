//! What is said of the people who use the console.

use std::collections::BTreeMap;

use moorgate_contract::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::secret::Token;

/// What somebody may do in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and change.
    Member,
    /// That, and say who else may.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Member, Self::Owner];

    /// `viewer`, `member` or `owner`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What an invitation makes of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Of all accounts.
    Operator,
    /// In one account.
    Member {
        /// Its name.
        account: String,
        /// As what.
        role: Role,
    },
}

/// An invitation that was just made. Its token is never shown again.
#[derive(Clone, Debug)]
pub struct NewInvitation {
    /// The name by which it is listed and taken back.
    pub id: String,
    /// What stands in the link.
    pub token: Token,
    /// Until when it can be taken up.
    pub until: Timestamp,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationView {
    /// Its name.
    pub id: String,
    /// Who is meant; `None`: whoever has the link.
    pub email: Option<String>,
    /// What it makes of them.
    pub standing: Standing,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it can be taken up.
    pub until: Timestamp,
}

/// Somebody who may use the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonView {
    /// Their name in the store.
    pub id: String,
    /// Their address, in lower case.
    pub email: String,
    /// Whether they may do everything.
    pub operator: bool,
    /// In which accounts, by name, and as what.
    pub roles: BTreeMap<String, Role>,
    /// Since when.
    pub created: Timestamp,
}

impl PersonView {
    /// As what they are in this account; `None`: in no way. An operator is an owner of each.
    pub fn role_in(&self, account: &str) -> Option<Role> {
        if self.operator { Some(Role::Owner) } else { self.roles.get(account).copied() }
    }
}

/// A sign-in that was just made. Its cookie's text is never shown again.
#[derive(Clone, Debug)]
pub struct NewSignIn {
    /// What the cookie says.
    pub token: Token,
    /// Until when it is good.
    pub until: Timestamp,
}

/// Who asks, by a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Whom it belongs to.
    pub person: PersonView,
    /// Which of their browsers it is.
    pub sign_in: String,
}

/// A browser that somebody is signed in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInView {
    /// Its name.
    pub id: String,
    /// Since when.
    pub created: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// The address that it was made from.
    pub client: String,
    /// What the browser calls itself.
    pub agent: String,
}
