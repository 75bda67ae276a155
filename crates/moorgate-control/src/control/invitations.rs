//! Invitations: links by which somebody comes in, once; and those by which somebody known gets in again.

use moorgate_contract::account::SecretHash;

use super::{Control, Inner, Session, now, people::address};
use crate::{
    book::{Book, InvitationRow, PersonRow},
    error::{ControlError, Invalid, Result, What},
    limits::{INVITATION_TIME, MAX_BEARER, MAX_INVITATIONS, MAX_PEOPLE},
    people_views::{InvitationView, NewInvitation, NewSignIn, Standing},
    proofs::Proofs,
    secret::{Password, Token, random_token_id},
};

/// Stands where a proxy password's hash has its username, so that none can be used as another.
const LINK: &str = "console invitation";

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
                Standing::Known => (false, None, None),
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

    /// A link by which somebody who has lost their password, app or passkeys chooses a new password. The old ones are good
    /// until it is used; then they are forgotten, and all their browsers are signed out.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::TooMany`], [`ControlError::StoreDown`].
    pub async fn let_in_again(&self, person: &str) -> Result<NewInvitation> {
        let email = self.inner.person_row(person)?.email;
        self.invite(Some(&email), Standing::Known).await
    }

    /// Takes an invitation up as somebody new, who is signed in then; or one to come in again.
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
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            // Somebody may have been faster.
            let invitation = inner.may_accept(&token, &email)?;
            let known = inner.book().people().by_email(&email).cloned();
            let row = match known {
                Some(old) if is_for_known(&invitation) => {
                    let row = PersonRow { password, proofs: Proofs::default(), ..old.clone() };
                    session.put_person("set password of", Some(&old), row.clone()).await?;
                    session.end_others(&row, None).await?;
                    row
                }
                Some(_) => return Err(Invalid::EmailTaken { email }.into()),
                None if is_for_known(&invitation) => return Err(Invalid::InvitationGone.into()),
                None => session.add_person(&invitation, email, password).await?,
            };
            let account = invitation.account.map(|account| inner.account_name(account));
            session.remove_invitation(account.as_deref(), &invitation, "accept").await?;
            let made = session.sign_in(&row, &agent).await?;
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
            if is_for_known(&invitation) {
                return Err(Invalid::InvitationGone.into());
            }
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
}

impl Session {
    async fn add_person(&mut self, invitation: &InvitationRow, email: String, password: String) -> Result<PersonRow> {
        if self.inner.book().people().all().len() >= MAX_PEOPLE {
            return Err(Invalid::TooMany { what: What::Person, limit: MAX_PEOPLE }.into());
        }
        let roles = invitation.account.zip(invitation.role).into_iter().collect();
        let (id, operator) = (random_token_id()?, invitation.operator);
        let row = PersonRow { id, email, password, operator, created: now(), roles, proofs: Proofs::default() };
        self.put_person("add", None, row.clone()).await?;
        Ok(row)
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

/// It makes nobody anything: somebody who has lost what they came in with comes in by it.
fn is_for_known(row: &InvitationRow) -> bool {
    !row.operator && row.account.is_none() && row.email.is_some()
}

/// `None`: its account is gone.
fn view_invitation(book: &Book, row: &InvitationRow) -> Option<InvitationView> {
    let standing = match (row.operator, row.account.zip(row.role)) {
        (true, _) => Standing::Operator,
        (false, Some((account, role))) => Standing::Member { account: book.account_by_id(account)?.name.clone(), role },
        (false, None) if is_for_known(row) => Standing::Known,
        (false, None) => return None,
    };
    let InvitationRow { id, email, created, until, .. } = row.clone();
    Some(InvitationView { id, email, standing, created, until })
}
