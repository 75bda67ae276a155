//! The people who use the console: their rows, read and written.

use std::collections::BTreeMap;

use moorgate_contract::{
    account::{AccountId, SecretHash},
    time::Timestamp,
};
use sqlx::{AnyConnection, Error, query, query_as};

use super::{Tx, number, stored};
use crate::{
    book::{Edit, InvitationRow, PersonRow, SignInRow},
    error::StoreError,
    people_views::Role,
    proofs::Proofs,
};

macro_rules! person_sql {
    ($rest:literal) => {
        concat!("SELECT id, email, password, operator, created, proofs FROM person ", $rest)
    };
}
macro_rules! sign_in_sql {
    ($rest:literal) => {
        concat!("SELECT id, hash, person, created, until, client, agent FROM sign_in ", $rest)
    };
}
macro_rules! invitation_sql {
    ($rest:literal) => {
        concat!("SELECT id, hash, email, operator, account, role, created, until FROM invitation ", $rest)
    };
}

type StoredPerson = (String, String, String, i64, i64, String);
type StoredMember = (String, i64, String);
type StoredSignIn = (String, Vec<u8>, String, i64, i64, String, String);
type StoredInvitation = (String, Vec<u8>, Option<String>, i64, Option<i64>, Option<String>, i64, i64);

pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<PersonRow>, Error> {
    let mut roles: BTreeMap<String, BTreeMap<AccountId, Role>> = BTreeMap::new();
    let members: Vec<StoredMember> =
        query_as("SELECT person, account, role FROM member").fetch_all(&mut *connection).await?;
    for member in members {
        let person = member.0.clone();
        roles.entry(person).or_default().extend(role(member));
    }
    let people: Vec<StoredPerson> = query_as(person_sql!("ORDER BY id")).fetch_all(connection).await?;
    let with_roles = |row: StoredPerson| {
        let roles = roles.remove(&row.0).unwrap_or_default();
        person(row, roles)
    };
    Ok(people.into_iter().map(with_roles).collect())
}

pub(super) async fn sign_ins(connection: &mut AnyConnection) -> Result<Vec<SignInRow>, Error> {
    let rows: Vec<StoredSignIn> = query_as(sign_in_sql!("ORDER BY id")).fetch_all(connection).await?;
    Ok(rows.into_iter().filter_map(sign_in).collect())
}

pub(super) async fn invitations(connection: &mut AnyConnection) -> Result<Vec<InvitationRow>, Error> {
    let rows: Vec<StoredInvitation> = query_as(invitation_sql!("ORDER BY id")).fetch_all(connection).await?;
    Ok(rows.into_iter().filter_map(invitation).collect())
}

/// What a person's row is now.
pub(super) async fn changed(connection: &mut AnyConnection, id: &str) -> Result<Edit, Error> {
    let row: Option<StoredPerson> =
        query_as(person_sql!("WHERE id = $1")).bind(id).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(Edit::RemovePerson(id.to_owned())) };
    let members = query_as("SELECT person, account, role FROM member WHERE person = $1").bind(id);
    let members: Vec<StoredMember> = members.fetch_all(connection).await?;
    Ok(Edit::PutPerson(person(row, members.into_iter().filter_map(role).collect())))
}

/// What a sign-in's row is now.
pub(super) async fn changed_sign_in(connection: &mut AnyConnection, id: &str) -> Result<Edit, Error> {
    let row = query_as(sign_in_sql!("WHERE id = $1")).bind(id).fetch_optional(connection).await?;
    Ok(row.and_then(sign_in).map_or_else(|| Edit::RemoveSignIn(id.to_owned()), Edit::PutSignIn))
}

/// What an invitation's row is now.
pub(super) async fn changed_invitation(connection: &mut AnyConnection, id: &str) -> Result<Edit, Error> {
    let row = query_as(invitation_sql!("WHERE id = $1")).bind(id).fetch_optional(connection).await?;
    Ok(row.and_then(invitation).map_or_else(|| Edit::RemoveInvitation(id.to_owned()), Edit::PutInvitation))
}

/// A role that can't be read is none.
fn role((_, account, role): StoredMember) -> Option<(AccountId, Role)> {
    Some((AccountId(number(account)), Role::from_name(&role)?))
}

fn person(row: StoredPerson, roles: BTreeMap<AccountId, Role>) -> PersonRow {
    let (id, email, password, operator, created, proofs) = row;
    let proofs = Proofs::from_stored(&proofs);
    PersonRow { id, email, password, operator: operator != 0, created: Timestamp(number(created)), roles, proofs }
}

/// A hash that can't be read opens nothing.
fn sign_in((id, hash, person, created, until, client, agent): StoredSignIn) -> Option<SignInRow> {
    let hash = SecretHash(hash.try_into().ok()?);
    let (created, until) = (Timestamp(number(created)), Timestamp(number(until)));
    Some(SignInRow { id, hash, person, created, until, client, agent })
}

fn invitation(row: StoredInvitation) -> Option<InvitationRow> {
    let (id, hash, email, operator, account, role, created, until) = row;
    Some(InvitationRow {
        id,
        hash: SecretHash(hash.try_into().ok()?),
        email,
        operator: operator != 0,
        account: account.map(|account| AccountId(number(account))),
        role: role.and_then(|role| Role::from_name(&role)),
        created: Timestamp(number(created)),
        until: Timestamp(number(until)),
    })
}

impl Tx {
    /// Adds a person, or replaces what is stored of one, their roles included.
    pub(crate) async fn put_person(&mut self, row: &PersonRow) -> Result<(), StoreError> {
        let failed = self.failed();
        let done = self.write_person(row).await;
        done.map_err(failed)
    }

    async fn write_person(&mut self, row: &PersonRow) -> Result<(), Error> {
        query(
            "INSERT INTO person (id, email, password, operator, created, proofs) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (id) DO UPDATE SET email = excluded.email, password = excluded.password, \
             operator = excluded.operator, proofs = excluded.proofs",
        )
        .bind(&row.id)
        .bind(&row.email)
        .bind(&row.password)
        .bind(i64::from(row.operator))
        .bind(stored(row.created.0))
        .bind(row.proofs.stored())
        .execute(self.connection())
        .await?;
        query("DELETE FROM member WHERE person = $1").bind(&row.id).execute(self.connection()).await?;
        for (account, role) in &row.roles {
            query("INSERT INTO member (person, account, role) VALUES ($1, $2, $3)")
                .bind(&row.id)
                .bind(stored(account.0))
                .bind(role.name())
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Removes a person, with what they are signed in with.
    pub(crate) async fn delete_person(&mut self, id: &str) -> Result<(), StoreError> {
        self.delete_text("DELETE FROM person WHERE id = $1", id).await
    }

    /// Adds a sign-in.
    pub(crate) async fn insert_sign_in(&mut self, row: &SignInRow) -> Result<(), StoreError> {
        let failed = self.failed();
        query(
            "INSERT INTO sign_in (id, hash, person, created, until, client, agent) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&row.id)
        .bind(row.hash.0.to_vec())
        .bind(&row.person)
        .bind(stored(row.created.0))
        .bind(stored(row.until.0))
        .bind(&row.client)
        .bind(&row.agent)
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Removes a sign-in.
    pub(crate) async fn delete_sign_in(&mut self, id: &str) -> Result<(), StoreError> {
        self.delete_text("DELETE FROM sign_in WHERE id = $1", id).await
    }

    /// Adds an invitation.
    pub(crate) async fn insert_invitation(&mut self, row: &InvitationRow) -> Result<(), StoreError> {
        let failed = self.failed();
        query(
            "INSERT INTO invitation (id, hash, email, operator, account, role, created, until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&row.id)
        .bind(row.hash.0.to_vec())
        .bind(row.email.as_deref())
        .bind(i64::from(row.operator))
        .bind(row.account.map(|account| stored(account.0)))
        .bind(row.role.map(Role::name))
        .bind(stored(row.created.0))
        .bind(stored(row.until.0))
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(failed)
    }

    /// Removes an invitation.
    pub(crate) async fn delete_invitation(&mut self, id: &str) -> Result<(), StoreError> {
        self.delete_text("DELETE FROM invitation WHERE id = $1", id).await
    }
}
