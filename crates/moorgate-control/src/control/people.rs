//! Who may use the console: passwords, roles, and the browsers that people are signed in with.

use std::collections::BTreeMap;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use moorgate_contract::account::AccountId;

use super::{Control, Inner, Session, now};
use crate::{
    book::{Book, PersonRow, SignInRow},
    call::Call,
    error::{ControlError, Invalid, Result, What, short},
    limits::{MAX_BEARER, MAX_PASSWORD, MAX_SIGN_INS, MIN_PASSWORD, SIGN_IN_TIME},
    people_views::{Entered, NewSignIn, PasskeyView, PersonView, Role, SignInView, SignedIn},
    proofs::PasskeyRow,
    secret::{Password, Token, random_token_id},
    views::{Caller, Scope},
};

/// Stands where a proxy password's hash has its username, so that none can be used as another.
const COOKIE: &str = "console cookie";
/// The longest address of a person, in bytes (RFC 5321 §4.5.3.1.3, without the brackets).
const MAX_EMAIL: usize = 254;
/// The most characters that are kept of what a browser calls itself.
const AGENT_CHARS: usize = 200;

impl Control {
    /// Signs somebody in, or says that a code of their authenticator app is wanted too. `None`: there is nobody with this
    /// address and password; which of them is wrong takes as long to say.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`].
    pub async fn sign_in(&self, email: &str, password: &Password, agent: &str) -> Result<Option<Entered>> {
        let email = address(email).unwrap_or_default();
        let known = self.inner.book().people().by_email(&email).cloned();
        let stored = known.as_ref().map(|row| row.password.clone()).unwrap_or_default();
        if !self.is_password(stored, password).await {
            return Ok(None);
        }
        let Some(known) = known else { return Ok(None) };
        if known.proofs.totp.is_some() {
            return self.wants_code(&known).map(|step| Some(Entered::Code { step }));
        }
        let (control, id, agent) = (self.as_person(&email), known.id, agent.to_owned());
        let operation = async move |mut session: Session| {
            // They may have been removed, or have another password or an app now.
            let row = session.inner.book().people().person(&id).cloned();
            let same = row.filter(|row| row.password == known.password && row.proofs.totp.is_none());
            let Some(row) = same else { return Ok(None) };
            let made = session.sign_in(&row, &agent).await?;
            session.commit().await?;
            Ok(Some(Entered::In(made)))
        };
        control.write(operation).await
    }

    /// Takes note in the audit log that somebody did not get in as this person; of nobody known nothing is noted. Whoever
    /// knocks must not wait for it: how long it takes would tell who is known.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`].
    pub async fn note_refused_sign_in(&self, email: &str) -> Result<()> {
        let email = address(email).unwrap_or_default();
        // Nobody's guesses cost the store anything.
        if self.inner.book().people().by_email(&email).is_none() {
            return Ok(());
        }
        let operation = async move |mut session: Session| {
            let row = session.inner.book().people().by_email(&email).cloned();
            if let Some(row) = row {
                // They are as before.
                session.put_person("refuse sign-in", Some(&row.clone()), row).await?;
            }
            session.commit().await
        };
        self.write(operation).await
    }

    /// Whose cookie this is; `None` for one that isn't ours, or has ended. Asks memory only.
    pub fn signed_in(&self, cookie: &str) -> Option<SignedIn> {
        if cookie.len() > MAX_BEARER {
            return None;
        }
        let hash = self.inner.token_pepper.hash(COOKIE, cookie.as_bytes());
        let book = self.inner.book();
        let row = book.people().sign_in(&hash).filter(|row| row.until > now())?;
        let person = view(&book, book.people().person(&row.person)?);
        Some(SignedIn { person, sign_in: row.id.clone() })
    }

    /// The browsers that somebody is signed in with, the latest first.
    pub fn list_sign_ins(&self, person: &str) -> Vec<SignInView> {
        let (book, at) = (self.inner.book(), now());
        let theirs = book.people().sign_ins().filter(|row| row.person == person && row.until > at);
        let mut all: Vec<SignInView> = theirs.map(view_sign_in).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.created));
        all
    }

    /// Signs a person's browser out; it is nothing if it was out already.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`].
    pub async fn sign_out(&self, person: &str, sign_in: &str) -> Result<()> {
        let (person, id) = (person.to_owned(), sign_in.to_owned());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let row = inner.book().people().sign_ins().find(|row| row.id == id && row.person == person).cloned();
            if let Some(row) = row {
                let email = inner.person_row(&person)?.email;
                session.remove_sign_in(&email, &row).await?;
            }
            session.commit().await
        };
        self.write(operation).await
    }

    /// Gives somebody another password, and signs all their other browsers out. `false`: the old one is not theirs.
    ///
    /// # Errors
    /// [`Invalid::Passphrase`], [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn change_password(&self, person: &str, sign_in: &str, old: &Password, new: &Password) -> Result<bool> {
        let known = self.inner.person_row(person)?;
        if !self.is_password(known.password.clone(), old).await {
            return Ok(false);
        }
        let password = self.hash(&known.email, new).await?;
        let kept = sign_in.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let old = inner.person_row(&known.id)?;
            session.put_person("set password of", Some(&old), PersonRow { password, ..old.clone() }).await?;
            session.end_others(&old, Some(&kept)).await?;
            session.commit().await?;
            Ok(true)
        };
        self.write(operation).await
    }

    /// Somebody, as they are now.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub fn person(&self, id: &str) -> Result<PersonView> {
        let book = self.inner.book();
        book.people().person(id).map(|row| view(&book, row)).ok_or_else(|| ControlError::not_found(What::Person, id))
    }

    /// Who may use the console for an account, operators aside; or everybody.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub fn list_people(&self, account: Option<&str>) -> Result<Vec<PersonView>> {
        let account = account.map(|account| self.inner.account_id(account)).transpose()?;
        let book = self.inner.book();
        let is_theirs = |row: &&PersonRow| account.is_none_or(|account| row.roles.contains_key(&account));
        let mut all: Vec<PersonView> = book.people().all().filter(is_theirs).map(|row| view(&book, row)).collect();
        all.sort_unstable_by(|a, b| a.email.cmp(&b.email));
        Ok(all)
    }

    /// Whether somebody may see an account now.
    pub fn may_see(&self, person: &str, account: &str) -> bool {
        let book = self.inner.book();
        let row = book.people().person(person);
        row.is_some_and(|row| row.operator || book.account(account).is_some_and(|it| row.roles.contains_key(&it.id)))
    }

    /// Says what somebody is in an account; `None`: nothing any more.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn set_role(&self, person: &str, account: &str, role: Option<Role>) -> Result<()> {
        let (person, account) = (person.to_owned(), account.to_owned());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let id = inner.account_id(&account)?;
            let old = inner.person_row(&person)?;
            let mut row = old.clone();
            match role {
                Some(role) => row.roles.insert(id, role),
                None => row.roles.remove(&id),
            };
            session.put_person("set", Some(&old), row).await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Removes somebody; they are signed out everywhere.
    ///
    /// # Errors
    /// [`Invalid::LastOperator`], [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn remove_person(&self, person: &str) -> Result<()> {
        let person = person.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let row = inner.person_row(&person)?;
            let operators = inner.book().people().all().filter(|row| row.operator).count();
            if row.operator && operators == 1 {
                return Err(Invalid::LastOperator { email: row.email }.into());
            }
            session.remove_person(&row).await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Asked by whoever has just shown who they are.
    pub(super) fn as_person(&self, email: &str) -> Self {
        let by = Caller { account: None, scope: Scope::Write, token_id: email.to_owned() };
        self.on_behalf(Call { by: Some(by), ..Call::clone(&self.call) })
    }

    /// A password's hash, if it is one that may be.
    pub(super) async fn hash(&self, email: &str, password: &Password) -> Result<String> {
        let chars = password.reveal().chars().count();
        if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&chars) || password.reveal().eq_ignore_ascii_case(email) {
            return Err(Invalid::Passphrase.into());
        }
        let password = password.clone();
        let hash = move || {
            let hash = Argon2::default().hash_password(password.reveal().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|_| ControlError::Random)
        };
        self.hashing(hash).await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Whether a stored hash is this password's. Nobody's (empty) takes as long as somebody's.
    pub(super) async fn is_password(&self, stored: String, password: &Password) -> bool {
        if password.reveal().chars().count() > MAX_PASSWORD {
            return false;
        }
        let password = password.clone();
        let verify = move || {
            let Ok(parsed) = PasswordHash::new(&stored) else {
                let _ = Argon2::default().hash_password(password.reveal().as_bytes());
                return false;
            };
            Argon2::default().verify_password(password.reveal().as_bytes(), &parsed).is_ok()
        };
        self.hashing(verify).await.unwrap_or(false)
    }

    /// Does what takes a while and much memory, a few at once.
    async fn hashing<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _turn = self.inner.hashing.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

impl Session {
    /// Signs somebody in who has proved who they are.
    pub(super) async fn sign_in(&mut self, person: &PersonRow, agent: &str) -> Result<NewSignIn> {
        let at = now();
        let client = self.client();
        let mut theirs: Vec<SignInRow> = {
            let book = self.inner.book();
            book.people().sign_ins().filter(|row| row.person == person.id).cloned().collect()
        };
        theirs.sort_by_key(|row| row.created);
        let over = (theirs.len() + 1).saturating_sub(MAX_SIGN_INS);
        for (place, row) in theirs.iter().enumerate() {
            if place < over || row.until <= at {
                self.remove_sign_in(&person.email, row).await?;
            }
        }
        let token = Token::of_cookie()?;
        let hash = self.inner.token_pepper.hash(COOKIE, token.reveal().as_bytes());
        let agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS).collect();
        let until = at.after(SIGN_IN_TIME);
        let row =
            SignInRow { id: random_token_id()?, hash, person: person.id.clone(), created: at, until, client, agent };
        self.add_sign_in(&person.email, row).await?;
        Ok(NewSignIn { token, until })
    }

    /// Signs somebody out everywhere but there.
    pub(super) async fn end_others(&mut self, person: &PersonRow, kept: Option<&str>) -> Result<()> {
        let others: Vec<SignInRow> = {
            let book = self.inner.book();
            let theirs = book.people().sign_ins().filter(|row| row.person == person.id);
            theirs.filter(|row| kept != Some(&row.id)).cloned().collect()
        };
        for row in others {
            self.remove_sign_in(&person.email, &row).await?;
        }
        Ok(())
    }
}

impl Inner {
    pub(super) fn person_row(&self, id: &str) -> Result<PersonRow> {
        let found = self.book().people().person(id).cloned();
        found.ok_or_else(|| ControlError::not_found(What::Person, id))
    }
}

/// An address as it is stored: two spellings of one are one.
pub(super) fn address(email: &str) -> Result<String, Invalid> {
    let trimmed = email.trim().to_lowercase();
    let good = trimmed.len() <= MAX_EMAIL
        && trimmed.split_once('@').is_some_and(|(who, host)| !who.is_empty() && host.len() > 2 && !host.contains('@'))
        && !trimmed.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c));
    if good { Ok(trimmed) } else { Err(Invalid::Email { email: short(email) }) }
}

fn view(book: &Book, row: &PersonRow) -> PersonView {
    let named = |(id, role): (&AccountId, &Role)| Some((book.account_by_id(*id)?.name.clone(), *role));
    let roles: BTreeMap<String, Role> = row.roles.iter().filter_map(named).collect();
    let proofs = &row.proofs;
    let passkey = |row: &PasskeyRow| PasskeyView {
        id: row.id.clone(),
        name: row.name.clone(),
        created: row.created,
        used: row.used,
    };
    PersonView {
        id: row.id.clone(),
        email: row.email.clone(),
        operator: row.operator,
        roles,
        created: row.created,
        has_password: !row.password.is_empty(),
        has_app: proofs.totp.is_some(),
        recovery_codes: proofs.recovery.len(),
        passkeys: proofs.passkeys.iter().map(passkey).collect(),
        issuer: proofs.identity.as_ref().map(|identity| identity.issuer.clone()),
    }
}

fn view_sign_in(row: &SignInRow) -> SignInView {
    let SignInRow { id, created, until, client, agent, .. } = row.clone();
    SignInView { id, created, until, client, agent }
}
