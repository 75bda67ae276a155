//! Who may use the console.

use std::{collections::BTreeMap, fmt};

use moorgate_control as control;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// What somebody may do in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and change.
    Member,
    /// That, and say who else may.
    Owner,
}

impl From<Role> for control::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Member => Self::Member,
            Role::Owner => Self::Owner,
        }
    }
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        control::Role::from(self).name()
    }
}

impl From<control::Role> for Role {
    fn from(role: control::Role) -> Self {
        match role {
            control::Role::Viewer => Self::Viewer,
            control::Role::Member => Self::Member,
            control::Role::Owner => Self::Owner,
        }
    }
}

/// Somebody who may use the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// Their address, in lower case.
    pub email: String,
    /// Whether they may do everything.
    pub operator: bool,
    /// In which accounts, by name, and as what.
    pub roles: BTreeMap<String, Role>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// Whether a code of an authenticator app is wanted with their password.
    pub app: bool,
    /// How many passkeys they have.
    pub passkeys: usize,
    /// Which identity provider lets them in; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

impl From<control::PersonView> for Person {
    fn from(person: control::PersonView) -> Self {
        let control::PersonView { email, operator, roles, created, has_app, passkeys, issuer, .. } = person;
        let roles = roles.into_iter().map(|(account, role)| (account, role.into())).collect();
        Self { email, operator, roles, created: Time(created), app: has_app, passkeys: passkeys.len(), issuer }
    }
}

/// Who is to be invited, and as what.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddInvitation {
    /// Who is meant; left out: whoever has the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Into which account; left out: as an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// As what; left out: as an owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// An invitation with its token, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewInvitation {
    /// Its id; no secret.
    pub id: String,
    /// What stands in the link, below `/welcome/` of the console.
    pub token: String,
    /// Until when it can be taken up.
    #[schema(value_type = String, format = DateTime)]
    pub until: Time,
}

impl From<control::NewInvitation> for NewInvitation {
    fn from(made: control::NewInvitation) -> Self {
        Self { id: made.id, token: made.token.reveal().to_owned(), until: Time(made.until) }
    }
}

impl fmt::Debug for NewInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewInvitation").field("id", &self.id).finish_non_exhaustive()
    }
}
