//! Credentials: proxy usernames and their passwords.

use std::time::Duration;

use moorgate_contract::{
    account::{AccountId, Pepper, Secret},
    time::Timestamp,
};

use super::{Control, Inner, Session, now};
use crate::{
    book::{CredentialRow, Edit},
    error::{ControlError, Invalid, Result, What},
    limits::{MAX_CREDENTIALS, MAX_OVERLAP},
    secret::{Password, random_username},
    store::Tx,
    views::{CredentialView, NewCredential},
};

impl Control {
    /// Makes a credential. The password is told here and nowhere else.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::TooMany`], [`ControlError::StoreDown`].
    pub async fn add_credential(&self, account: &str) -> Result<NewCredential> {
        let account = account.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let account = inner.account_id(&account)?;
            if inner.book().count_credentials(account) >= MAX_CREDENTIALS {
                return Err(Invalid::TooMany { what: What::Credential, limit: MAX_CREDENTIALS }.into());
            }
            let mut tx = session.begin().await?;
            let (row, new) = insert(&mut tx, inner.compiler.pepper(), account, now()).await?;
            let version = tx.commit().await?;
            session.publish(version, vec![Edit::PutCredential(row)]);
            Ok(new)
        };
        self.write(operation).await
    }

    /// The credentials of an account, oldest first.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn list_credentials(&self, account: &str) -> Result<Vec<CredentialView>> {
        let (account, now) = (self.inner.account_id(account)?, now());
        let book = self.inner.book();
        let mut rows: Vec<&CredentialRow> = book.credentials_of(account).collect();
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows.into_iter().map(|row| view(row, now)).collect())
    }

    /// Gives a credential a new password. The old one works for `overlap` more; with zero it ends at once, and what it
    /// opened is cut. A password that was still overlapping from a rotation before ends at once.
    ///
    /// # Errors
    /// [`Invalid::OverlapTooLong`], [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn rotate_credential(&self, account: &str, username: &str, overlap: Duration) -> Result<NewCredential> {
        if overlap > MAX_OVERLAP {
            return Err(Invalid::OverlapTooLong { overlap }.into());
        }
        let (account, username) = (account.to_owned(), username.to_owned());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let mut row = inner.credential_row(&account, &username)?;
            let password = Password::random()?;
            let hash = inner.compiler.pepper().hash(&username, password.reveal().as_bytes());
            let mut tx = session.begin().await?;
            let mut kept = if overlap.is_zero() { None } else { row.secrets.pop() };
            for old in &row.secrets {
                tx.delete_secret(old.id).await?;
            }
            if let Some(old) = &mut kept {
                let until = now().after(overlap);
                tx.end_secret(old.id, until).await?;
                old.until = Some(until);
            }
            let id = tx.insert_secret(row.id, hash).await?;
            row.secrets = kept.into_iter().chain([Secret { id, hash, until: None }]).collect();
            let version = tx.commit().await?;
            session.publish(version, vec![Edit::PutCredential(row)]);
            Ok(NewCredential { username, password })
        };
        self.write(operation).await
    }

    /// Revokes a credential: refused from now on, and what it opened is cut.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn revoke_credential(&self, account: &str, username: &str) -> Result<()> {
        let (account, username) = (account.to_owned(), username.to_owned());
        let operation = async move |mut session: Session| {
            let row = session.inner.credential_row(&account, &username)?;
            let mut tx = session.begin().await?;
            tx.delete_credential(row.id).await?;
            let version = tx.commit().await?;
            session.publish(version, vec![Edit::RemoveCredential(row.account, username)]);
            Ok(())
        };
        self.write(operation).await
    }

    /// Removes passwords whose overlap has ended by `now`. Traffic refuses them by itself; this forgets them.
    pub(crate) async fn reap(&self, now: Timestamp) -> Result<()> {
        if self.inner.book().endings().all(|(_, ending)| ending.until > now) {
            return Ok(());
        }
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let (gone, edits) = inner.ended(now);
            let mut tx = session.begin().await?;
            for id in gone {
                tx.delete_secret(id).await?;
            }
            let version = tx.commit().await?;
            session.publish(version, edits);
            Ok(())
        };
        self.write(operation).await
    }
}

impl Inner {
    fn credential_row(&self, account: &str, username: &str) -> Result<CredentialRow> {
        let account = self.account_id(account)?;
        let not_found = || ControlError::not_found(What::Credential, username);
        self.book().credential(account, username).cloned().ok_or_else(not_found)
    }

    fn ended(&self, now: Timestamp) -> (Vec<moorgate_contract::account::SecretId>, Vec<Edit>) {
        let book = self.book();
        let due: Vec<_> = book.endings().filter(|(_, ending)| ending.until <= now).collect();
        let rows = due.iter().filter_map(|(_, ending)| book.credential(ending.account, &ending.username));
        let edits = rows.map(|row| {
            let mut row = row.clone();
            row.secrets.retain(|secret| secret.is_valid(now));
            Edit::PutCredential(row)
        });
        (due.iter().map(|(id, _)| *id).collect(), edits.collect())
    }
}

/// Stores a new credential with its first password.
pub(super) async fn insert(
    tx: &mut Tx<'_>,
    pepper: &Pepper,
    account: AccountId,
    created: Timestamp,
) -> Result<(CredentialRow, NewCredential)> {
    let (username, password) = (random_username()?, Password::random()?);
    let hash = pepper.hash(&username, password.reveal().as_bytes());
    let id = tx.insert_credential(account, &username, created).await?;
    let secrets = vec![Secret { id: tx.insert_secret(id, hash).await?, hash, until: None }];
    let row = CredentialRow { id, account, username: username.clone(), created, secrets };
    Ok((row, NewCredential { username, password }))
}

fn view(row: &CredentialRow, now: Timestamp) -> CredentialView {
    let valid = || row.secrets.iter().filter(|secret| secret.is_valid(now));
    CredentialView {
        username: row.username.clone(),
        created: row.created,
        passwords: valid().count(),
        overlap_until: valid().filter_map(|secret| secret.until).max(),
    }
}
