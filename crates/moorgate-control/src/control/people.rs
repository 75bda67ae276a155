//! Who may use the console: invitations, passwords, and the browsers that people are signed in with.

use std::collections::BTreeMap;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use moorgate_contract::account::{AccountId, SecretHash};

use super::{Control, Inner, Session, now};
use crate::{
    book::{Book, InvitationRow, PersonRow, SignInRow},
    call::Call,
    error::{ControlError, Invalid, Result, What, short},
    limits::{
        INVITATION_TIME, MAX_BEARER, MAX_INVITATIONS, MAX_PASSWORD, MAX_PEOPLE, MAX_SIGN_INS, MIN_PASSWORD,
        SIGN_IN_TIME,
    },
    people_views::{InvitationView, NewInvitation, NewSignIn, PersonView, Role, SignInView, SignedIn, Standing},
    secret::{Password, Token, random_token_id},
    views::{Caller, Scope},
};

/// Stand where a proxy password's hash has its username, so that none can be used as another.
const COOKIE: &str = "console cookie";
const LINK: &str = "console invitation";
/// The longest address of a person, in bytes (RFC 5321 §4.5.3.1.3, without the brackets).
const MAX_EMAIL: usize = 254;
/// The most characters that are kept of what a browser calls itself.
const AGENT_CHARS: usize = 200;

impl Control {
    /// Invites somebody; whoever has the token may take it up, if no address is named.
    ///
    /// # Errors
    /// [`Invalid::Email`], [`Invalid::TooMany`], [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn invite(&self, email: Option<&str>, standing: Standing) -> Result<NewInvitation> {
        let email = email.map(address).transpose()?;
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let (operator, account, role) = match &standing {
                Standing::Operator => (true, None, None),
                Standing::Member { account, role } => (false, Some(inner.account_id(account)?), Some(*role)),
            };
            session.forget_ended_invitations().await?;
            if inner.book().people().invitations().count() >= MAX_INVITATIONS {
                return Err(Invalid::TooMany { what: What::Invitation, limit: MAX_INVITATIONS }.into());
            }
            let (id, token, created) = (random_token_id()?, Token::of_link()?, now());
            let hash = inner.token_pepper.hash(LINK, token.reveal().as_bytes());
            let until = created.after(INVITATION_TIME);
            let row = InvitationRow { id: id.clone(), hash, email, operator, account, role, created, until };
            let account = account.map(|account| inner.account_name(account));
            session.add_invitation(account.as_deref(), row).await?;
            session.commit().await?;
            Ok(NewInvitation { id, token, until })
        };
        self.write(operation).await
    }

    /// What the invitation of this token makes of somebody; `None`: it can't be taken up (any more).
    pub fn invitation(&self, token: &str) -> Option<InvitationView> {
        let book = self.inner.book();
        view_invitation(&book, self.inner.invitation(&book, token)?)
    }

    /// The invitations of one account that can be taken up, or all there are.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub fn list_invitations(&self, account: Option<&str>) -> Result<Vec<InvitationView>> {
        let account = account.map(|account| self.inner.account_id(account)).transpose()?;
        let (book, at) = (self.inner.book(), now());
        let is_open = |row: &&InvitationRow| row.until > at && (account.is_none() || row.account == account);
        let open = book.people().invitations().filter(is_open);
        Ok(open.filter_map(|row| view_invitation(&book, row)).collect())
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn take_back_invitation(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let found = inner.book().people().invitations().find(|row| row.id == id).cloned();
            let row = found.ok_or_else(|| ControlError::not_found(What::Invitation, &id))?;
            let account = row.account.map(|account| inner.account_name(account));
            session.remove_invitation(account.as_deref(), &row, "take back").await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Takes an invitation up as somebody new, who is signed in then.
    ///
    /// # Errors
    /// [`Invalid::InvitationGone`], [`Invalid::InvitationOfAnother`], [`Invalid::Email`], [`Invalid::EmailTaken`],
    /// [`Invalid::Passphrase`], [`ControlError::StoreDown`].
    pub async fn accept_invitation(
        &self,
        token: &str,
        email: &str,
        password: &Password,
        agent: &str,
    ) -> Result<NewSignIn> {
        let email = address(email)?;
        self.inner.may_accept(token, &email)?;
        let password = self.hash(&email, password).await?;
        let email_of_call = email.clone();
        let (token, agent) = (token.to_owned(), agent.to_owned());
        let client = self.call.from.map(|from| from.to_string()).unwrap_or_default();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            // Somebody may have been faster.
            let invitation = inner.may_accept(&token, &email)?;
            if inner.book().people().by_email(&email).is_some() {
                return Err(Invalid::EmailTaken { email }.into());
            }
            if inner.book().people().all().len() >= MAX_PEOPLE {
                return Err(Invalid::TooMany { what: What::Person, limit: MAX_PEOPLE }.into());
            }
            let roles = invitation.account.zip(invitation.role).into_iter().collect();
            let (id, operator) = (random_token_id()?, invitation.operator);
            let row = PersonRow { id, email, password, operator, created: now(), roles };
            session.put_person("add", None, row.clone()).await?;
            let account = invitation.account.map(|account| inner.account_name(account));
            session.remove_invitation(account.as_deref(), &invitation, "accept").await?;
            let made = session.sign_in(&row, client, &agent).await?;
            session.commit().await?;
            Ok(made)
        };
        self.as_person(&email_of_call).write(operation).await
    }

    /// Takes an invitation up as somebody who can sign in already.
    ///
    /// # Errors
    /// [`Invalid::InvitationGone`], [`Invalid::InvitationOfAnother`], [`ControlError::NotFound`],
    /// [`ControlError::StoreDown`].
    pub async fn join_by_invitation(&self, token: &str, person: &str) -> Result<()> {
        let (token, person) = (token.to_owned(), person.to_owned());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let old = inner.person_row(&person)?;
            let invitation = inner.may_accept(&token, &old.email)?;
            let mut row = old.clone();
            row.operator |= invitation.operator;
            if let Some((account, role)) = invitation.account.zip(invitation.role) {
                let has = row.roles.entry(account).or_insert(role);
                *has = role.max(*has);
            }
            session.put_person("set", Some(&old), row).await?;
            let account = invitation.account.map(|account| inner.account_name(account));
            session.remove_invitation(account.as_deref(), &invitation, "accept").await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Signs somebody in. `None`: there is nobody with this address and password; which of them is wrong takes as long to
    /// say.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`].
    pub async fn sign_in(&self, email: &str, password: &Password, agent: &str) -> Result<Option<NewSignIn>> {
        let email = address(email).unwrap_or_default();
        let known = self.inner.book().people().by_email(&email).cloned();
        let stored = known.as_ref().map(|row| row.password.clone()).unwrap_or_default();
        if !self.is_password(stored, password).await {
            return Ok(None);
        }
        let Some(known) = known else { return Ok(None) };
        let control = self.as_person(&email);
        let agent = agent.to_owned();
        let client = self.call.from.map(|from| from.to_string()).unwrap_or_default();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            // They may have been removed, or have another password now.
            let row = inner.book().people().person(&known.id).filter(|row| row.password == known.password).cloned();
            let Some(row) = row else { return Ok(None) };
            let made = session.sign_in(&row, client, &agent).await?;
            session.commit().await?;
            Ok(Some(made))
        };
        control.write(operation).await
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
            let others: Vec<SignInRow> = {
                let book = inner.book();
                let theirs = book.people().sign_ins().filter(|row| row.person == known.id && row.id != kept);
                theirs.cloned().collect()
            };
            for row in others {
                session.remove_sign_in(&old.email, &row).await?;
            }
            session.commit().await?;
            Ok(true)
        };
        self.write(operation).await
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
    fn as_person(&self, email: &str) -> Self {
        let by = Caller { account: None, scope: Scope::Write, token_id: email.to_owned() };
        self.on_behalf(Call { by: Some(by), ..Call::clone(&self.call) })
    }

    /// A password's hash, if it is one that may be.
    async fn hash(&self, email: &str, password: &Password) -> Result<String> {
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
    async fn is_password(&self, stored: String, password: &Password) -> bool {
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
    async fn sign_in(&mut self, person: &PersonRow, client: String, agent: &str) -> Result<NewSignIn> {
        let at = now();
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

    async fn forget_ended_invitations(&mut self) -> Result<()> {
        let inner = self.inner.clone();
        let ended: Vec<InvitationRow> = {
            let (book, at) = (inner.book(), now());
            book.people().invitations().filter(|row| row.until <= at).cloned().collect()
        };
        for row in ended {
            let account = row.account.map(|account| inner.account_name(account));
            self.remove_invitation(account.as_deref(), &row, "end").await?;
        }
        Ok(())
    }
}

impl Inner {
    fn person_row(&self, id: &str) -> Result<PersonRow> {
        let found = self.book().people().person(id).cloned();
        found.ok_or_else(|| ControlError::not_found(What::Person, id))
    }

    fn invitation<'a>(&self, book: &'a Book, token: &str) -> Option<&'a InvitationRow> {
        if token.len() > MAX_BEARER {
            return None;
        }
        let hash: SecretHash = self.token_pepper.hash(LINK, token.as_bytes());
        book.people().invitations().find(|row| row.hash == hash && row.until > now())
    }

    /// The invitation of this token, if it is this address's to take up.
    fn may_accept(&self, token: &str, email: &str) -> Result<InvitationRow> {
        let book = self.book();
        let row = self.invitation(&book, token).ok_or(Invalid::InvitationGone)?;
        match &row.email {
            Some(meant) if meant != email => Err(Invalid::InvitationOfAnother { email: meant.clone() }.into()),
            _ => Ok(row.clone()),
        }
    }
}

/// An address as it is stored: two spellings of one are one.
fn address(email: &str) -> Result<String, Invalid> {
    let trimmed = email.trim().to_lowercase();
    let good = trimmed.len() <= MAX_EMAIL
        && trimmed.split_once('@').is_some_and(|(who, host)| !who.is_empty() && host.len() > 2 && !host.contains('@'))
        && !trimmed.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c));
    if good { Ok(trimmed) } else { Err(Invalid::Email { email: short(email) }) }
}

fn view(book: &Book, row: &PersonRow) -> PersonView {
    let named = |(id, role): (&AccountId, &Role)| Some((book.account_by_id(*id)?.name.clone(), *role));
    let roles: BTreeMap<String, Role> = row.roles.iter().filter_map(named).collect();
    PersonView { id: row.id.clone(), email: row.email.clone(), operator: row.operator, roles, created: row.created }
}

fn view_sign_in(row: &SignInRow) -> SignInView {
    let SignInRow { id, created, until, client, agent, .. } = row.clone();
    SignInView { id, created, until, client, agent }
}

/// `None`: its account is gone.
fn view_invitation(book: &Book, row: &InvitationRow) -> Option<InvitationView> {
    let standing = match (row.operator, row.account.zip(row.role)) {
        (true, _) => Standing::Operator,
        (false, Some((account, role))) => Standing::Member { account: book.account_by_id(account)?.name.clone(), role },
        (false, None) => return None,
    };
    let InvitationRow { id, email, created, until, .. } = row.clone();
    Some(InvitationView { id, email, standing, created, until })
}
