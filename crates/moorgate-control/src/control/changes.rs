//! What a [`Session`] can change: each change is written, becomes an edit of what is served, and an entry of the audit log
//! with what was before and what is after.

use moorgate_contract::{
    account::{Secret, SecretHash, SecretId},
    time::Timestamp,
};
use moorgate_keys::{Facts, KeyId, LocalCa};
use serde_json::{Value, json};

use super::{Session, now, schedule::next_order};
use crate::{
    book::{
        AccountRow, AlarmRow, CertificateRow, CredentialRow, Edit, InvitationRow, IssuanceRow, PersonRow, RouteRow,
        SignInRow, TierRow, TokenRow, TroubleRow,
    },
    compile,
    error::{Result, What},
    shown,
    store::{Change, Entry},
};

impl Session {
    /// Adds an account; its id is given here.
    pub(crate) async fn add_account(&mut self, mut row: AccountRow) -> Result<AccountRow> {
        row.id = self.tx()?.insert_account(&row).await?;
        self.note(added_account(&row), Edit::PutAccount(row.clone()));
        Ok(row)
    }

    /// Changes an account.
    pub(crate) async fn set_account(&mut self, old: &AccountRow, row: AccountRow) -> Result<()> {
        self.tx()?.update_account(&row).await?;
        let entry = entry(What::Account, row.id.0, "set", &row.name).of(&row.name);
        self.note(entry.before(shown::account(old)).after(shown::account(&row)), Edit::PutAccount(row));
        Ok(())
    }

    /// Removes an account with all that is its own.
    pub(crate) async fn remove_account(&mut self, row: &AccountRow) -> Result<()> {
        let (credentials, tokens): (Vec<_>, Vec<_>) = {
            let book = self.inner.book();
            let tokens = book.tokens().filter(|token| token.account == Some(row.id)).cloned();
            (book.credentials_of(row.id).cloned().collect(), tokens.collect())
        };
        // Each is named: what ends with it is found by its own name too.
        for credential in &credentials {
            self.entries.push(of_credential(&row.name, credential, "revoke").before(shown::credential(credential)));
        }
        for token in &tokens {
            let entry = entry(What::Token, &token.id, "revoke", &token.id).of(&row.name);
            self.entries.push(entry.before(shown::token(token)));
        }
        self.tx()?.delete_account(row.id).await?;
        let entry = entry(What::Account, row.id.0, "remove", &row.name).of(&row.name);
        self.note(entry.before(shown::account(row)), Edit::RemoveAccount(row.id));
        Ok(())
    }

    /// Adds a credential with its first password.
    pub(crate) async fn add_credential(
        &mut self,
        account: &str,
        mut row: CredentialRow,
        hash: SecretHash,
    ) -> Result<CredentialRow> {
        row.id = self.tx()?.insert_credential(&row).await?;
        let id = self.tx()?.insert_secret(row.id, hash).await?;
        row.secrets = vec![Secret { id, hash, until: None }];
        self.note(added_credential(account, &row), Edit::PutCredential(row.clone()));
        Ok(row)
    }

    /// Gives a credential another password. Of those before only the newest is kept, until `until`; `None`: not even
    /// that.
    pub(crate) async fn rotate_credential(
        &mut self,
        account: &str,
        old: &CredentialRow,
        hash: SecretHash,
        until: Option<Timestamp>,
    ) -> Result<()> {
        let mut row = old.clone();
        let mut kept = row.secrets.pop().filter(|_| until.is_some());
        let gone: Vec<SecretId> = old.secrets.iter().map(|secret| secret.id).collect();
        for id in gone.into_iter().filter(|id| kept.as_ref().is_none_or(|kept| kept.id != *id)) {
            self.tx()?.delete_secret(id).await?;
        }
        if let (Some(kept), Some(until)) = (&mut kept, until) {
            self.tx()?.end_secret(kept.id, until).await?;
            kept.until = Some(until);
        }
        let id = self.tx()?.insert_secret(row.id, hash).await?;
        row.secrets = kept.into_iter().chain([Secret { id, hash, until: None }]).collect();
        let entry = of_credential(account, &row, "rotate");
        let entry = entry.before(shown::credential(old)).after(shown::credential(&row));
        self.note(entry, Edit::PutCredential(row));
        Ok(())
    }

    /// Changes a credential, its passwords aside.
    pub(crate) async fn set_credential(
        &mut self,
        account: &str,
        old: &CredentialRow,
        row: CredentialRow,
    ) -> Result<()> {
        self.tx()?.update_credential(&row).await?;
        let entry = of_credential(account, &row, "set");
        self.note(entry.before(shown::credential(old)).after(shown::credential(&row)), Edit::PutCredential(row));
        Ok(())
    }

    /// Forgets passwords of a credential that have ended.
    pub(crate) async fn forget_ended(&mut self, account: &str, old: &CredentialRow, now: Timestamp) -> Result<()> {
        let mut row = old.clone();
        row.secrets.retain(|secret| secret.is_valid(now));
        for ended in old.secrets.iter().filter(|secret| !secret.is_valid(now)) {
            self.tx()?.delete_secret(ended.id).await?;
        }
        let entry = of_credential(account, &row, "end overlap");
        self.note(entry.before(shown::credential(old)).after(shown::credential(&row)), Edit::PutCredential(row));
        Ok(())
    }

    /// Removes a credential.
    pub(crate) async fn remove_credential(&mut self, account: &str, row: &CredentialRow) -> Result<()> {
        self.tx()?.delete_credential(row.id).await?;
        let entry = of_credential(account, row, "revoke").before(shown::credential(row));
        self.note(entry, Edit::RemoveCredential(row.account, row.username.clone()));
        Ok(())
    }

    /// Adds a token.
    pub(crate) async fn add_token(&mut self, account: Option<&str>, row: TokenRow) -> Result<()> {
        self.tx()?.insert_token(&row).await?;
        self.note(added_token(account, &row), Edit::PutToken(row));
        Ok(())
    }

    /// Removes a token.
    pub(crate) async fn remove_token(&mut self, account: Option<&str>, row: &TokenRow) -> Result<()> {
        self.tx()?.delete_token(&row.id).await?;
        let entry = entry(What::Token, &row.id, "revoke", &row.id).of_some(account);
        self.note(entry.before(shown::token(row)), Edit::RemoveToken(row.id.clone()));
        Ok(())
    }

    /// Adds a route; its id is given here.
    pub(crate) async fn add_route(&mut self, account: &str, mut row: RouteRow) -> Result<()> {
        row.id = self.tx()?.insert_route(&row).await?;
        let entry = entry(What::Route, &row.domain, "add", &row.domain).of(account);
        self.note(entry.after(shown::route(&row)), Edit::PutRoute(row));
        Ok(())
    }

    /// Changes a route.
    pub(crate) async fn set_route(&mut self, account: &str, old: &RouteRow, row: RouteRow) -> Result<()> {
        self.tx()?.update_route(&row).await?;
        let entry = entry(What::Route, &row.domain, "set", &row.domain).of(account);
        let (had, wants) = (compile::wants_rsa(old), compile::wants_rsa(&row));
        let domain = row.domain.clone();
        self.note(entry.before(shown::route(old)).after(shown::route(&row)), Edit::PutRoute(row));
        if had == wants { Ok(()) } else { self.follow_rsa(account, &domain, wants).await }
    }

    /// Has a certificate with an RSA key ordered beside the domain's other, or takes it back.
    async fn follow_rsa(&mut self, account: &str, domain: &str, wants: bool) -> Result<()> {
        let (issuance, issued) = {
            let book = self.inner.book();
            let issued = book.certificate(domain).filter(|row| row.issued).map(|row| row.chain.clone());
            (book.issuance(domain).cloned(), issued.and_then(|chain| Facts::of_pem(chain.as_bytes()).ok()))
        };
        // Where there is none yet, both are ordered with the first.
        let (Some(old), Some(issued)) = (issuance, issued) else { return Ok(()) };
        let row = if wants {
            IssuanceRow { rsa_only: true, next: Timestamp(0), failures: 0, ..old.clone() }
        } else {
            let next = if old.rsa_only {
                next_order(issued.not_before.into(), issued.not_after.into(), domain, now())
            } else {
                old.next
            };
            IssuanceRow { rsa: None, rsa_only: false, next, ..old.clone() }
        };
        self.put_issuance(Some(account), "plan", Some(&old), row).await
    }

    /// Has a domain's certificates ordered anew. What failed before does not count against them.
    pub(crate) async fn renew(
        &mut self,
        account: Option<&str>,
        action: &'static str,
        old: &IssuanceRow,
        next: Timestamp,
    ) -> Result<()> {
        let row = IssuanceRow { next, failures: 0, rsa_only: false, ..old.clone() };
        self.put_issuance(account, action, Some(old), row).await
    }

    /// Takes note of what is known of a route's DNS. Its name says what happened.
    pub(crate) async fn set_dns(&mut self, account: &str, old: &RouteRow, row: RouteRow) -> Result<()> {
        self.tx()?.update_route(&row).await?;
        let entry = entry(What::Route, &row.domain, "see DNS of", &row.domain).of(account);
        self.note(entry.before(shown::route(old)).after(shown::route(&row)), Edit::PutRoute(row));
        Ok(())
    }

    /// Removes a route. Its name says why: `remove`, or `hand over` to another account that has proved the domain.
    pub(crate) async fn remove_route(&mut self, account: &str, row: &RouteRow, action: &'static str) -> Result<()> {
        self.tx()?.delete_route(row.id).await?;
        let issuance = self.inner.book().issuance(&row.domain).cloned();
        if let Some(issuance) = issuance {
            self.remove_issuance(Some(account), &issuance).await?;
        }
        // What the CA has issued goes with what it was issued for; what somebody has added is theirs.
        let issued = self.inner.book().certificate(&row.domain).filter(|certificate| certificate.issued).cloned();
        if let Some(issued) = issued {
            self.remove_certificate(account, &issued).await?;
        }
        let entry = entry(What::Route, &row.domain, action, &row.domain).of(account);
        self.note(entry.before(shown::route(row)), Edit::RemoveRoute(row.domain.clone()));
        Ok(())
    }

    /// Adds or replaces a certificate.
    pub(crate) async fn put_certificate(
        &mut self,
        account: &str,
        old: Option<&CertificateRow>,
        row: CertificateRow,
    ) -> Result<()> {
        self.tx()?.put_certificate(&row).await?;
        let mut entry = entry(What::Certificate, &row.domain, "add", &row.domain).of(account);
        if let Some(old) = old {
            entry = entry.before(shown::certificate(old));
        }
        self.note(entry.after(shown::certificate(&row)), Edit::PutCertificate(row));
        Ok(())
    }

    /// Removes a certificate.
    pub(crate) async fn remove_certificate(&mut self, account: &str, row: &CertificateRow) -> Result<()> {
        self.tx()?.delete_certificate(&row.domain).await?;
        let entry = entry(What::Certificate, &row.domain, "remove", &row.domain).of(account);
        self.note(entry.before(shown::certificate(row)), Edit::RemoveCertificate(row.domain.clone()));
        Ok(())
    }

    /// Takes note of what is being done for a domain's certificate.
    pub(crate) async fn put_issuance(
        &mut self,
        account: Option<&str>,
        action: &'static str,
        old: Option<&IssuanceRow>,
        row: IssuanceRow,
    ) -> Result<()> {
        self.tx()?.put_issuance(&row).await?;
        let mut entry = entry(What::Issuance, &row.domain, action, &row.domain).of_some(account);
        if let Some(old) = old {
            entry = entry.before(shown::issuance(old));
        }
        self.note(entry.after(shown::issuance(&row)), Edit::PutIssuance(row));
        Ok(())
    }

    /// Forgets what is being done for a domain's certificate.
    pub(crate) async fn remove_issuance(&mut self, account: Option<&str>, row: &IssuanceRow) -> Result<()> {
        self.tx()?.delete_issuance(&row.domain).await?;
        let entry = entry(What::Issuance, &row.domain, "end", &row.domain).of_some(account);
        self.note(entry.before(shown::issuance(row)), Edit::RemoveIssuance(row.domain.clone()));
        Ok(())
    }

    /// Adds or changes somebody who may use the console. Their name says what happened.
    pub(crate) async fn put_person(
        &mut self,
        action: &'static str,
        old: Option<&PersonRow>,
        row: PersonRow,
    ) -> Result<()> {
        self.tx()?.put_person(&row).await?;
        let mut entry = entry(What::Person, &row.id, action, &row.email);
        let inner = self.inner.clone();
        let name_of = |account| inner.account_name(account);
        if let Some(old) = old {
            entry = entry.before(shown::person(old, &name_of));
        }
        self.note(entry.after(shown::person(&row, &name_of)), Edit::PutPerson(row));
        Ok(())
    }

    /// Removes somebody, with what they are signed in with.
    pub(crate) async fn remove_person(&mut self, row: &PersonRow) -> Result<()> {
        self.tx()?.delete_person(&row.id).await?;
        let inner = self.inner.clone();
        let entry = entry(What::Person, &row.id, "remove", &row.email);
        let entry = entry.before(shown::person(row, &|account| inner.account_name(account)));
        self.note(entry, Edit::RemovePerson(row.id.clone()));
        Ok(())
    }

    /// Signs somebody in.
    pub(crate) async fn add_sign_in(&mut self, email: &str, row: SignInRow) -> Result<()> {
        self.tx()?.insert_sign_in(&row).await?;
        let entry = entry(What::SignIn, &row.id, "open", email);
        self.note(entry.after(shown::sign_in(&row)), Edit::PutSignIn(row));
        Ok(())
    }

    /// Signs somebody out.
    pub(crate) async fn remove_sign_in(&mut self, email: &str, row: &SignInRow) -> Result<()> {
        self.tx()?.delete_sign_in(&row.id).await?;
        let entry = entry(What::SignIn, &row.id, "close", email);
        self.note(entry.before(shown::sign_in(row)), Edit::RemoveSignIn(row.id.clone()));
        Ok(())
    }

    /// Invites somebody.
    pub(crate) async fn add_invitation(&mut self, account: Option<&str>, row: InvitationRow) -> Result<()> {
        self.tx()?.insert_invitation(&row).await?;
        let entry = entry(What::Invitation, &row.id, "add", &row.id).of_some(account);
        self.note(entry.after(shown::invitation(&row)), Edit::PutInvitation(row));
        Ok(())
    }

    /// Ends an invitation: it was taken up, or taken back.
    pub(crate) async fn remove_invitation(
        &mut self,
        account: Option<&str>,
        row: &InvitationRow,
        action: &'static str,
    ) -> Result<()> {
        self.tx()?.delete_invitation(&row.id).await?;
        let entry = entry(What::Invitation, &row.id, action, &row.id).of_some(account);
        self.note(entry.before(shown::invitation(row)), Edit::RemoveInvitation(row.id.clone()));
        Ok(())
    }

    /// Adds a receiver of alarms, or changes one. Its name says what happened.
    pub(crate) async fn put_alarm(
        &mut self,
        account: &str,
        action: &'static str,
        old: Option<&AlarmRow>,
        row: AlarmRow,
    ) -> Result<()> {
        self.tx()?.put_alarm(&row).await?;
        let mut entry = entry(What::Alarm, &row.id, action, &row.id).of(account);
        if let Some(old) = old {
            entry = entry.before(shown::alarm(old));
        }
        self.note(entry.after(shown::alarm(&row)), Edit::PutAlarm(row));
        Ok(())
    }

    /// Removes a receiver of alarms, with what has yet to reach it.
    pub(crate) async fn remove_alarm(&mut self, account: &str, row: &AlarmRow) -> Result<()> {
        self.tx()?.delete_alarm(&row.id).await?;
        let entry = entry(What::Alarm, &row.id, "remove", &row.id).of(account);
        self.note(entry.before(shown::alarm(row)), Edit::RemoveAlarm(row.id.clone()));
        Ok(())
    }

    /// Takes note of what receivers are told of. Its name says what became of it.
    pub(crate) async fn put_trouble(
        &mut self,
        account: &str,
        action: &'static str,
        old: Option<&TroubleRow>,
        row: TroubleRow,
    ) -> Result<()> {
        self.tx()?.put_trouble(&row).await?;
        let mut entry = entry(What::Trouble, row.key(), action, &row.about).of(account);
        if let Some(old) = old {
            entry = entry.before(shown::trouble(old));
        }
        self.note(entry.after(shown::trouble(&row)), Edit::PutTrouble(row));
        Ok(())
    }

    /// Takes note of what is over.
    pub(crate) async fn remove_trouble(&mut self, account: &str, row: &TroubleRow) -> Result<()> {
        self.tx()?.delete_trouble(&row.key()).await?;
        let entry = entry(What::Trouble, row.key(), "end", &row.about).of(account);
        self.note(entry.before(shown::trouble(row)), Edit::RemoveTrouble(row.key()));
        Ok(())
    }

    /// Adds or changes a tier.
    pub(crate) async fn put_tier(&mut self, old: Option<&TierRow>, row: TierRow) -> Result<()> {
        self.tx()?.put_tier(&row).await?;
        let mut entry = entry(What::Tier, &row.name, if old.is_some() { "set" } else { "add" }, &row.name);
        if let Some(old) = old {
            entry = entry.before(shown::tier(old));
        }
        self.note(entry.after(shown::tier(&row)), Edit::PutTier(row));
        Ok(())
    }

    /// Removes a tier that no account has.
    pub(crate) async fn remove_tier(&mut self, row: &TierRow) -> Result<()> {
        self.tx()?.delete_tier(&row.name).await?;
        let entry = entry(What::Tier, &row.name, "remove", &row.name).before(shown::tier(row));
        self.note(entry, Edit::RemoveTier(row.name.clone()));
        Ok(())
    }

    fn note(&mut self, entry: Entry, edit: Edit) {
        self.entries.push(entry);
        self.edits.push(edit);
    }
}

/// A store's own key was sealed under this master key.
pub(super) fn sealed_key(master: KeyId) -> Entry {
    entry(What::Gateway, "store", "seal key", "store").after(json!({ "master_key": master.to_string() }))
}

/// There is an account at a CA.
pub(super) fn registered(directory: &str) -> Entry {
    entry(What::Gateway, "store", "register at CA", "store").after(json!({ "directory": directory }))
}

/// An account at a CA is not there any more.
pub(super) fn forgot(directory: &str) -> Entry {
    entry(What::Gateway, "store", "forget account at CA", "store").before(json!({ "directory": directory }))
}

/// The gateways on a store have this local CA.
pub(super) fn set_ca(ca: &LocalCa) -> Entry {
    entry(What::Gateway, "store", "set local CA", "store").after(shown::chain(&ca.cert_pem()))
}

pub(super) fn added_account(row: &AccountRow) -> Entry {
    entry(What::Account, row.id.0, "add", &row.name).of(&row.name).after(shown::account(row))
}

pub(super) fn added_credential(account: &str, row: &CredentialRow) -> Entry {
    of_credential(account, row, "add").after(shown::credential(row))
}

pub(super) fn added_token(account: Option<&str>, row: &TokenRow) -> Entry {
    entry(What::Token, &row.id, "add", &row.id).of_some(account).after(shown::token(row))
}

/// A backup was put in the store's place.
pub(super) fn restored(stored: u64, known: u64) -> Entry {
    let entry = entry(What::Gateway, "store", "restore", "store");
    entry.before(json!({ "version": known })).after(json!({ "version": stored }))
}

/// A backup was put into an empty store.
pub(crate) fn restored_backup(version: u64) -> Entry {
    entry(What::Gateway, "store", "restore", "store").after(json!({ "version": version }))
}

fn entry(what: What, key: impl ToString, action: &'static str, name: &str) -> Entry {
    let change = Change { what, key: key.to_string() };
    Entry { change, action, name: name.to_owned(), account: None, before: None, after: None }
}

fn of_credential(account: &str, row: &CredentialRow, action: &'static str) -> Entry {
    entry(What::Credential, format_args!("{}/{}", row.account.0, row.username), action, &row.username).of(account)
}

impl Entry {
    fn of(self, account: &str) -> Self {
        self.of_some(Some(account))
    }

    fn of_some(self, account: Option<&str>) -> Self {
        Self { account: account.map(str::to_owned), ..self }
    }

    fn before(self, value: Value) -> Self {
        Self { before: Some(value.to_string()), ..self }
    }

    fn after(self, value: Value) -> Self {
        Self { after: Some(value.to_string()), ..self }
    }
}
