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
    /// What they are already: they come in again and choose another password.
    Known,
}

/// What somebody becomes who comes by an identity provider and is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The account's name.
    pub account: String,
    /// As what.
    pub role: Role,
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
    /// Whether they can come in by a password.
    pub has_password: bool,
    /// Whether a code of an authenticator app is wanted with it.
    pub has_app: bool,
    /// How many codes they have left for when they lose it.
    pub recovery_codes: usize,
    /// What they can come in by alone.
    pub passkeys: Vec<PasskeyView>,
    /// Which identity provider lets them in.
    pub issuer: Option<String>,
}

/// Somebody's passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyView {
    /// Its authenticator's name for it, base64url.
    pub id: String,
    /// Its owner's name for it.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it let somebody in last.
    pub used: Option<Timestamp>,
}

/// Where somebody is after their password was right.
#[derive(Clone, Debug)]
pub enum Entered {
    /// Signed in.
    In(NewSignIn),
    /// Nearly: a code of their authenticator app is wanted.
    Code {
        /// What goes with it.
        step: String,
    },
}

/// What an authenticator app is set up with. Shown once.
#[derive(Clone)]
pub struct AppSetup {
    /// For a QR code: `otpauth://…`.
    pub link: String,
    /// For whoever types: base 32.
    pub secret: String,
    /// What goes with the first code.
    pub step: String,
}

impl std::fmt::Debug for AppSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppSetup(…)")
    }
}

/// What an authenticator is asked.
#[derive(Clone, Debug)]
pub struct PasskeyQuestion {
    /// Random bytes, base64url.
    pub challenge: String,
    /// Which keys' algorithms are taken, of COSE, the best first.
    pub algorithms: Vec<i64>,
    /// The passkeys that the person has already, base64url.
    pub known: Vec<String>,
    /// What goes with the answer.
    pub step: String,
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
