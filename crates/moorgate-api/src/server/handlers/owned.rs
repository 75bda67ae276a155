//! What is an account's own and found by its domain: who may list it, make it and see it.

use moorgate_control::{ControlError, What};
use serde::Deserialize;

use crate::{
    problem::Problem,
    server::{
        ApiState,
        access::Caller,
        page::{Listing, Page},
    },
};

/// Whose are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    account: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Whose {
    /// Which page of them.
    pub(super) fn page(&self, listing: Listing) -> Result<Page, Problem> {
        Page::of(listing, self.limit, self.cursor.as_deref())
    }

    /// The account whose things are listed; `None`: everybody's.
    pub(super) async fn account(self, api: &ApiState, caller: &Caller) -> Result<Option<String>, Problem> {
        let Some(account) = self.account else { return Ok(caller.account().map(str::to_owned)) };
        caller.must_see(&account)?;
        // A list of nothing would hide that the name is misspelt.
        api.control.account(&account).await?;
        Ok(Some(account))
    }
}

/// Whose something new is to be: an account makes its own, and may name itself only.
pub(super) fn owner(caller: &Caller, named: Option<String>) -> Result<Option<String>, Problem> {
    if let Some(named) = &named {
        caller.must_see(named)?;
    }
    Ok(named.or_else(|| caller.account().map(str::to_owned)))
}

/// Which page of a listing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Part {
    /// The page.
    pub(super) fn page(&self, listing: Listing) -> Result<Page, Problem> {
        Page::of(listing, self.limit, self.cursor.as_deref())
    }
}

/// The answer for what is not there.
pub(super) fn absent(what: What, domain: &str) -> Problem {
    ControlError::NotFound { what, name: domain.chars().take(80).collect() }.into()
}

/// What was found, if the caller may see whose it is. Another's is answered like one that is not there.
pub(super) fn seen<V>(
    found: Result<V, ControlError>,
    account: impl Fn(&V) -> &str,
    caller: &Caller,
    what: What,
    domain: &str,
) -> Result<V, Problem> {
    match found {
        Ok(found) if caller.sees(account(&found)) => Ok(found),
        Ok(_) | Err(ControlError::NotFound { .. }) => Err(absent(what, domain)),
        Err(error) => Err(error.into()),
    }
}
