//! Bearer tokens of the API.

use moorgate_contract::{
    account::{AccountId, Pepper},
    time::Timestamp,
};
use subtle::ConstantTimeEq as _;

use super::{Control, Session, now};
use crate::{
    book::{Book, TokenRow},
    error::{ControlError, Invalid, Result, What},
    limits::{MAX_BEARER, MAX_TOKENS},
    secret::{Token, random_token_id},
    views::{Caller, NewToken, Scope, TokenView},
};

/// Stands where a proxy password's hash has its username, so that neither can be used as the other.
const DOMAIN: &str = "api token";

impl Control {
    /// Makes a token for `account`, or for an operator. Its text is told here and nowhere else.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::TooMany`], [`ControlError::StoreDown`].
    pub async fn add_token(&self, account: Option<&str>, scope: Scope) -> Result<NewToken> {
        let account = account.map(str::to_owned);
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let id = account.as_deref().map(|account| inner.account_id(account)).transpose()?;
            if inner.book().tokens().filter(|row| row.account == id).count() >= MAX_TOKENS {
                return Err(Invalid::TooMany { what: What::Token, limit: MAX_TOKENS }.into());
            }
            let (row, new) = new_row(&inner.token_pepper, id, scope, now())?;
            session.add_token(account.as_deref(), row).await?;
            session.commit().await?;
            Ok(new)
        };
        self.write(operation).await
    }

    /// The tokens of one account, or all there are, the operators' included; oldest first.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn list_tokens(&self, account: Option<&str>) -> Result<Vec<TokenView>> {
        let account = account.map(|account| self.inner.account_id(account)).transpose()?;
        let book = self.inner.book();
        let rows = book.tokens().filter(|row| account.is_none() || row.account == account);
        let mut views: Vec<TokenView> = rows.map(|row| view(&book, row)).collect();
        views.sort_unstable_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(views)
    }

    /// One token.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn token(&self, id: &str) -> Result<TokenView> {
        let book = self.inner.book();
        let row = book.token(id).ok_or_else(|| ControlError::not_found(What::Token, id))?;
        Ok(view(&book, row))
    }

    /// Revokes a token; it opens nothing from now on.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let row = inner.book().token(&id).cloned().ok_or_else(|| ControlError::not_found(What::Token, &id))?;
            let account = row.account.map(|account| inner.account_name(account));
            session.remove_token(account.as_deref(), &row).await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Whom a bearer token belongs to; `None` for one that isn't ours. Asks memory only.
    pub async fn authenticate(&self, bearer: &str) -> Option<Caller> {
        if bearer.len() > MAX_BEARER {
            return None;
        }
        let hash = self.inner.token_pepper.hash(DOMAIN, bearer.as_bytes());
        let book = self.inner.book();
        let row = book.token_by_hash(&hash)?;
        if !bool::from(row.hash.0.ct_eq(&hash.0)) {
            return None;
        }
        let account = match row.account {
            Some(id) => Some(book.account_by_id(id)?.name.clone()),
            None => None,
        };
        Some(Caller { account, scope: row.scope, token_id: row.id.clone() })
    }
}

/// A new token.
pub(super) fn new_row(
    pepper: &Pepper,
    account: Option<AccountId>,
    scope: Scope,
    created: Timestamp,
) -> Result<(TokenRow, NewToken)> {
    let (id, token) = (random_token_id()?, Token::random()?);
    let hash = pepper.hash(DOMAIN, token.reveal().as_bytes());
    Ok((TokenRow { id: id.clone(), account, scope, hash, created }, NewToken { id, token }))
}

fn view(book: &Book, row: &TokenRow) -> TokenView {
    let account = row.account.and_then(|id| book.account_by_id(id));
    TokenView {
        id: row.id.clone(),
        account: account.map(|account| account.name.clone()),
        scope: row.scope,
        created: row.created,
    }
}
