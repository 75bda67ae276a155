//! Credentials: proxy usernames and their passwords.

use std::{collections::BTreeSet, time::Duration};

use moorgate_contract::{
    account::{AccountId, CredentialId, Pepper, SecretHash},
    policy::MAX_RULES,
    time::Timestamp,
};

use super::{Control, Inner, Session, now};
use crate::{
    book::{AccountRow, CredentialRow},
    compile,
    error::{ControlError, Invalid, Result, What},
    limits::{MAX_CLIENTS, MAX_CREDENTIAL_NAME, MAX_CREDENTIALS, MAX_OVERLAP, STOPPED, TEST_NAME, TEST_OVERLAP},
    secret::{Password, random_username},
    shown::second,
    store::Use,
    views::{CredentialChange, CredentialStanding, CredentialView, NewCredential},
};

impl Control {
    /// Makes a credential with what `change` sets. The password is told here and nowhere else.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::Invalid`], [`ControlError::StoreDown`].
    pub async fn add_credential(&self, account: &str, change: CredentialChange) -> Result<NewCredential> {
        check(&change)?;
        let account = account.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let account = inner.account_row(&account)?;
            let new = session.make_credential(&account, |row| apply(row, change)).await?;
            session.commit().await?;
            Ok(new)
        };
        self.write(operation).await
    }

    /// A credential for a test of the console's: the account's only one, with a new password. The password before works
    /// for [`TEST_OVERLAP`] more, so that two tests at once don't end each other.
    ///
    /// # Errors
    /// As [`add_credential`](Self::add_credential).
    pub async fn test_credential(&self, account: &str) -> Result<NewCredential> {
        let account = account.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let account = inner.account_row(&account)?;
            let kept = inner.book().credentials_of(account.id).find(|row| row.name == TEST_NAME).cloned();
            let new = match kept {
                Some(old) => session.renew_credential(&account.name, old, TEST_OVERLAP).await?,
                None => session.make_credential(&account, |row| TEST_NAME.clone_into(&mut row.name)).await?,
            };
            session.commit().await?;
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
        let uses = self.uses(account).await;
        let book = self.inner.book();
        let mut rows: Vec<&CredentialRow> = book.credentials_of(account).collect();
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows.into_iter().map(|row| view(row, uses.of(row.id), now)).collect())
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
            let old = session.inner.credential_row(&account, &username)?;
            let new = session.renew_credential(&account, old, overlap).await?;
            session.commit().await?;
            Ok(new)
        };
        self.write(operation).await
    }

    /// Changes a credential, its passwords aside. Open tunnels are kept; with `change.cut`, those that its new policy
    /// refuses are cut.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::Invalid`], [`ControlError::StoreDown`].
    pub async fn set_credential(
        &self,
        account: &str,
        username: &str,
        change: CredentialChange,
    ) -> Result<CredentialView> {
        check(&change)?;
        let (account, username) = (account.to_owned(), username.to_owned());
        let this = self.clone();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let old = inner.credential_row(&account, &username)?;
            let mut row = old.clone();
            apply(&mut row, change);
            if row != old {
                session.set_credential(&account, &old, row.clone()).await?;
            }
            session.commit().await?;
            let used = this.uses(row.account).await.of(row.id);
            Ok(view(&row, used, now()))
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
            session.remove_credential(&account, &row).await?;
            session.commit().await
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
            for row in inner.ended(now) {
                let account = inner.account_name(row.account);
                session.forget_ended(&account, &row, now).await?;
            }
            session.commit().await
        };
        self.write(operation).await
    }
}

impl Session {
    /// A credential, set by `fill`, with its first password.
    async fn make_credential(
        &mut self,
        account: &AccountRow,
        fill: impl FnOnce(&mut CredentialRow),
    ) -> Result<NewCredential> {
        if self.inner.book().count_credentials(account.id) >= MAX_CREDENTIALS {
            return Err(Invalid::TooMany { what: What::Credential, limit: MAX_CREDENTIALS }.into());
        }
        let (mut row, hash, new) = new_row(self.inner.compiler.pepper(), account.id, now())?;
        fill(&mut row);
        self.add_credential(&account.name, row, hash).await?;
        Ok(new)
    }

    /// Another password; the one before works for `overlap` more.
    async fn renew_credential(
        &mut self,
        account: &str,
        old: CredentialRow,
        overlap: Duration,
    ) -> Result<NewCredential> {
        let password = Password::random()?;
        let hash = self.inner.compiler.pepper().hash(&old.username, password.reveal().as_bytes());
        let until = (!overlap.is_zero()).then(|| now().after(overlap));
        self.rotate_credential(account, &old, hash, until).await?;
        Ok(NewCredential { username: old.username, password })
    }
}

impl Inner {
    fn credential_row(&self, account: &str, username: &str) -> Result<CredentialRow> {
        let account = self.account_id(account)?;
        let not_found = || ControlError::not_found(What::Credential, username);
        self.book().credential(account, username).cloned().ok_or_else(not_found)
    }

    /// Credentials with passwords that have ended.
    fn ended(&self, now: Timestamp) -> Vec<CredentialRow> {
        let book = self.book();
        let due = book.endings().filter(|(_, ending)| ending.until <= now);
        let due: BTreeSet<_> = due.map(|(_, ending)| (ending.account, ending.username.as_str())).collect();
        due.into_iter().filter_map(|(account, username)| book.credential(account, username)).cloned().collect()
    }
}

fn check(change: &CredentialChange) -> Result<(), Invalid> {
    if let Some(name) = &change.name {
        check_name(name.trim())?;
    }
    if let Some(Some(expires)) = change.expires
        && expires <= now()
    {
        return Err(Invalid::ExpiresInThePast { expires: second(expires) });
    }
    if let Some(net) = change.clients.iter().flatten().find(|net| net.trunc() != **net) {
        return Err(Invalid::LooseNetwork { given: *net, meant: net.trunc() });
    }
    if let Some(Some(policy)) = &change.policy
        && policy.rules().len() > MAX_RULES
    {
        return Err(Invalid::TooManyRules { count: policy.rules().len() });
    }
    match &change.clients {
        Some(clients) if clients.len() > MAX_CLIENTS => Err(Invalid::TooManyClients { count: clients.len() }),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    // What turns the direction of text around makes one name look like another.
    let is_hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if name.chars().count() > MAX_CREDENTIAL_NAME || name.contains(is_hidden) {
        return Err(Invalid::CredentialName { name: name.chars().take(2 * MAX_CREDENTIAL_NAME).collect() });
    }
    if name == TEST_NAME { Err(Invalid::CredentialNameKept) } else { Ok(()) }
}

fn apply(row: &mut CredentialRow, change: CredentialChange) {
    if let Some(name) = change.name {
        name.trim().clone_into(&mut row.name);
    }
    if let Some(expires) = change.expires {
        row.expires = expires;
    }
    if let Some(clients) = change.clients {
        row.clients = compile::clients_text(&clients);
    }
    if let Some(policy) = change.policy {
        row.policy = policy.as_ref().map(super::policy::text);
        row.policy_cuts += u64::from(change.cut);
    }
}

/// A new credential, which has yet to get its id, with its first password.
pub(super) fn new_row(
    pepper: &Pepper,
    account: AccountId,
    created: Timestamp,
) -> Result<(CredentialRow, SecretHash, NewCredential)> {
    let (username, password) = (random_username()?, Password::random()?);
    let hash = pepper.hash(&username, password.reveal().as_bytes());
    let row = CredentialRow {
        id: CredentialId(0),
        account,
        username: username.clone(),
        name: String::new(),
        created,
        expires: None,
        clients: String::new(),
        policy: None,
        policy_cuts: 0,
        secrets: Vec::new(),
    };
    Ok((row, hash, NewCredential { username, password }))
}

fn view(row: &CredentialRow, used: Result<Option<Use>, ()>, now: Timestamp) -> CredentialView {
    let valid = || row.secrets.iter().filter(|secret| secret.is_valid(now));
    CredentialView {
        username: row.username.clone(),
        name: row.name.clone(),
        created: row.created,
        passwords: valid().count(),
        overlap_until: valid().filter_map(|secret| secret.until).max(),
        expires: row.expires,
        clients: compile::clients(row).unwrap_or_default(),
        policy: compile::credential_policy(row).ok().flatten(),
        last_used: used.ok().flatten().map(|(at, _)| at),
        last_client: used.ok().flatten().and_then(|(_, client)| client),
        problem: compile::credential_problem(row),
        standing: match used {
            _ if row.expires.is_some_and(|expires| expires <= now) => CredentialStanding::Expired,
            Err(()) => CredentialStanding::Unknown,
            Ok(None) => CredentialStanding::NeverUsed,
            Ok(Some((at, _))) if now.since(at) > STOPPED => CredentialStanding::Stopped,
            Ok(Some(_)) => CredentialStanding::InUse,
        },
    }
}
