//! Who may use the console, and the browsers that they are signed in with.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use moorgate_contract::{
    account::{AccountId, SecretHash},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    people_views::Role,
    proofs::{Identity, Proofs},
};

/// Somebody who may use the console, as stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PersonRow {
    pub(crate) id: String,
    /// In lower case.
    pub(crate) email: String,
    /// Argon2id, as a PHC string.
    pub(crate) password: String,
    /// Of all accounts.
    pub(crate) operator: bool,
    pub(crate) created: Timestamp,
    /// In which accounts, and as what.
    pub(crate) roles: BTreeMap<AccountId, Role>,
    /// What they have beside the password.
    #[serde(default)]
    pub(crate) proofs: Proofs,
}

/// A browser that somebody is signed in with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignInRow {
    pub(crate) id: String,
    /// Of what its cookie says.
    pub(crate) hash: SecretHash,
    /// Whose.
    pub(crate) person: String,
    pub(crate) created: Timestamp,
    pub(crate) until: Timestamp,
    /// The address, and what the browser calls itself.
    pub(crate) client: String,
    pub(crate) agent: String,
}

/// What somebody may become.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InvitationRow {
    pub(crate) id: String,
    pub(crate) hash: SecretHash,
    /// Who is meant; `None`: whoever has it.
    pub(crate) email: Option<String>,
    pub(crate) operator: bool,
    pub(crate) account: Option<AccountId>,
    pub(crate) role: Option<Role>,
    pub(crate) created: Timestamp,
    pub(crate) until: Timestamp,
}

impl fmt::Debug for PersonRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonRow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for SignInRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for InvitationRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationRow").field("id", &self.id).finish_non_exhaustive()
    }
}

/// All of them, found by what callers know.
#[derive(Debug, Default)]
pub(crate) struct People {
    people: BTreeMap<String, PersonRow>,
    /// By address.
    emails: HashMap<String, String>,
    sign_ins: BTreeMap<String, SignInRow>,
    /// By hash: a keyed hash tells nothing through how long it takes to find.
    cookies: HashMap<[u8; 32], String>,
    invitations: BTreeMap<String, InvitationRow>,
}

impl People {
    pub(super) fn put(&mut self, row: PersonRow) {
        self.emails.insert(row.email.clone(), row.id.clone());
        self.people.insert(row.id.clone(), row);
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(row) = self.people.remove(id) {
            self.emails.remove(&row.email);
        }
        self.sign_ins.retain(|_, row| row.person != id);
        self.cookies.retain(|_, sign_in| self.sign_ins.contains_key(sign_in));
    }

    pub(super) fn put_sign_in(&mut self, row: SignInRow) {
        self.cookies.insert(row.hash.0, row.id.clone());
        self.sign_ins.insert(row.id.clone(), row);
    }

    pub(super) fn remove_sign_in(&mut self, id: &str) {
        if let Some(row) = self.sign_ins.remove(id) {
            self.cookies.remove(&row.hash.0);
        }
    }

    pub(super) fn put_invitation(&mut self, row: InvitationRow) {
        self.invitations.insert(row.id.clone(), row);
    }

    pub(super) fn remove_invitation(&mut self, id: &str) {
        self.invitations.remove(id);
    }

    pub(super) fn remove_account(&mut self, account: AccountId) {
        for row in self.people.values_mut() {
            row.roles.remove(&account);
        }
        self.invitations.retain(|_, row| row.account != Some(account));
    }

    /// By id, in no order that says anything.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &PersonRow> {
        self.people.values()
    }

    pub(crate) fn person(&self, id: &str) -> Option<&PersonRow> {
        self.people.get(id)
    }

    /// `email` in lower case.
    pub(crate) fn by_email(&self, email: &str) -> Option<&PersonRow> {
        self.people.get(self.emails.get(email)?)
    }

    /// Whose passkey has this name.
    pub(crate) fn by_passkey(&self, id: &str) -> Option<&PersonRow> {
        self.people.values().find(|row| row.proofs.passkeys.iter().any(|passkey| passkey.id == id))
    }

    /// Who is this to an identity provider.
    pub(crate) fn by_identity(&self, identity: &Identity) -> Option<&PersonRow> {
        self.people.values().find(|row| row.proofs.identity.as_ref() == Some(identity))
    }

    pub(crate) fn sign_ins(&self) -> impl Iterator<Item = &SignInRow> {
        self.sign_ins.values()
    }

    pub(crate) fn sign_in(&self, hash: &SecretHash) -> Option<&SignInRow> {
        self.sign_ins.get(self.cookies.get(&hash.0)?)
    }

    pub(crate) fn invitations(&self) -> impl Iterator<Item = &InvitationRow> {
        self.invitations.values()
    }
}
