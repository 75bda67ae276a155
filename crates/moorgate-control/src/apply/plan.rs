//! What has to be changed for all to be as a text says: found before anything is written.

use std::collections::{BTreeMap, HashMap};

use moorgate_contract::{account::AccountId, egress::Pair, policy::MAX_RULES, route::RouteSettings};
use serde_json::Value;

use super::{
    AppliedChange, Document, Wrong,
    text::{At, WantedAccount, WantedRoute},
};
use crate::{
    book::{AccountRow, Book, RouteRow, TierRow},
    compile,
    control::{Inner, accounts, now, policy_text},
    limits::{MAX_ACCOUNTS, MAX_ROUTES, MAX_TIERS},
    names, shown,
};

/// A change of the plan.
#[derive(Clone, Debug)]
pub(crate) enum Planned {
    PutTier(Option<TierRow>, TierRow),
    AddAccount(AccountRow),
    SetAccount(AccountRow, AccountRow),
    /// With the name of its account, which may have yet to be made.
    AddRoute(String, RouteRow),
    SetRoute(String, RouteRow, RouteRow),
    RemoveRoute(String, RouteRow),
    /// With how many credentials and tokens.
    RemoveAccount(AccountRow, usize, usize),
    RemoveTier(TierRow),
}

/// Everything that has to be changed, in the order in which it can be.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Planned>,
    pub(crate) unnamed: usize,
}

impl Plan {
    /// Compares a text with what is stored.
    ///
    /// # Errors
    /// The first thing that can't be, from the top of the text.
    pub(crate) fn of(document: &Document, inner: &Inner, prune: bool) -> Result<Self, Wrong> {
        let book = inner.book();
        let mut plan = Self::default();
        let mut wrong = Vec::new();
        let planning = Planning { document, inner, book: &book };
        planning.tiers(&mut plan);
        planning.accounts(&mut plan, &mut wrong);
        planning.routes(&mut plan, &mut wrong);
        planning.bounds(&mut wrong);
        planning.unnamed(&mut plan, prune, &mut wrong);
        Wrong::foremost(wrong).map_or(Ok(plan), Err)
    }
}

struct Planning<'a> {
    document: &'a Document,
    inner: &'a Inner,
    book: &'a Book,
}

fn wrong(line: usize, said: impl ToString) -> Wrong {
    Wrong { line, said: said.to_string() }
}

impl Planning<'_> {
    fn tiers(&self, plan: &mut Plan) {
        for (name, (_, quotas)) in &self.document.tiers {
            let old = self.book.tier(name);
            if old.is_some_and(|old| serde_json::from_str(&old.quotas).is_ok_and(|old| *quotas == old)) {
                continue;
            }
            let created = old.map_or_else(now, |old| old.created);
            // Numbers: nothing in them can fail to be JSON.
            let quotas = serde_json::to_string(quotas).unwrap_or_default();
            plan.changes.push(Planned::PutTier(old.cloned(), TierRow { name: name.clone(), quotas, created }));
        }
    }

    fn accounts(&self, plan: &mut Plan, all_wrong: &mut Vec<Wrong>) {
        for (name, (at, wanted)) in &self.document.accounts {
            if let Err(error) = self.check_account(at, name, wanted) {
                all_wrong.push(error);
                continue;
            }
            let old = self.book.account(name);
            if old.and_then(super::text::wanted).as_ref() == Some(wanted) {
                continue;
            }
            let base = old.cloned().unwrap_or_else(|| accounts::new_row(name, now()));
            let row = AccountRow {
                policy: policy_text(&wanted.policy()),
                egress: compile::egress_text(&wanted.egress),
                tier: wanted.tier.clone(),
                ..base
            };
            plan.changes.push(match old {
                None => Planned::AddAccount(row),
                Some(old) => Planned::SetAccount(old.clone(), row),
            });
        }
    }

    fn check_account(&self, at: &At, name: &str, wanted: &WantedAccount) -> Result<(), Wrong> {
        accounts::check_egress(&wanted.egress, self.inner.compiler.configured_egress())
            .map_err(|error| wrong(at.field("egress"), format_args!("account {name}: {error}")))?;
        debug_assert!(wanted.egress.len() <= Pair::MAX);
        if wanted.policy.len() > MAX_RULES {
            return Err(wrong(
                at.field("policy"),
                format_args!("account {name}: a policy has at most {MAX_RULES} rules"),
            ));
        }
        match &wanted.tier {
            Some(tier) if !self.document.tiers.contains_key(tier) && self.book.tier(tier).is_none() => Err(wrong(
                at.field("tier"),
                format_args!("account {name}: there is no tier {tier:?}; write [tiers.{tier}] too"),
            )),
            _ => Ok(()),
        }
    }

    fn routes(&self, plan: &mut Plan, all_wrong: &mut Vec<Wrong>) {
        for (domain, (at, wanted)) in &self.document.routes {
            match self.route(at, domain, wanted) {
                Ok(change) => plan.changes.extend(change),
                Err(error) => all_wrong.push(error),
            }
        }
    }

    fn route(&self, at: &At, domain: &str, wanted: &WantedRoute) -> Result<Option<Planned>, Wrong> {
        let said = |said: &dyn std::fmt::Display| format!("route {domain}: {said}");
        let account = self.owner(wanted).map_err(|problem| wrong(at.field("account"), said(&problem)))?;
        let wrong = |problem: &dyn std::fmt::Display| wrong(at.line, said(problem));
        let old = self.book.route(domain);
        let owner = |row: &RouteRow| self.book.account_by_id(row.account).map(|row| row.name.as_str());
        if let Some(old) = old
            && (owner(old) != Some(account.as_str()) || old.mode != wanted.mode.name())
        {
            return Err(wrong(&"a route keeps its account and its mode; remove it first (moorgate route remove)"));
        }
        self.check_domain(domain, &account).map_err(|said| wrong(&said))?;
        let base = self.base(old);
        let settings = self.inner.changed(base, wanted.settings.clone(), wanted.mode).map_err(|error| wrong(&error))?;
        let Some(old) = old else {
            let row =
                self.inner.new_route(AccountId(0), domain, wanted.mode, settings).map_err(|error| wrong(&error))?;
            return Ok(Some(Planned::AddRoute(account, row)));
        };
        let same = compile::settings(old).ok() == serde_json::from_str::<RouteSettings>(&settings).ok();
        Ok((!same).then(|| Planned::SetRoute(account, old.clone(), RouteRow { settings, ..old.clone() })))
    }

    /// A new route, with the secrets that a text never has.
    fn base(&self, old: Option<&RouteRow>) -> RouteSettings {
        let mut base = RouteSettings::default();
        if let Some(old) = old.and_then(|old| compile::settings(old).ok()) {
            base.actions.basic_auth = old.actions.basic_auth;
            base.actions.request_headers.set = old.actions.request_headers.set;
        }
        base
    }

    fn owner(&self, wanted: &WantedRoute) -> Result<String, String> {
        if let Some(name) = &wanted.account {
            let is_known = self.document.accounts.contains_key(name) || self.book.account(name).is_some();
            return is_known
                .then(|| name.clone())
                .ok_or_else(|| format!("there is no account {name:?}; write [accounts.{name}] too"));
        }
        let mut names: BTreeMap<&str, ()> = self.book.accounts().map(|row| (row.name.as_str(), ())).collect();
        names.extend(self.document.accounts.keys().map(|name| (name.as_str(), ())));
        match names.into_keys().collect::<Vec<_>>()[..] {
            [only] => Ok(only.to_owned()),
            _ => Err("name its account: account = \"NAME\"".to_owned()),
        }
    }

    /// Whoever has the wildcard has what it stands for; whoever has the certificate has the domain.
    fn check_domain(&self, domain: &str, account: &str) -> Result<(), String> {
        if let (None, Ok(domain)) = (self.book.route(domain), domain.parse()) {
            let zone = self.inner.zone.as_ref().map(|zone| &zone.name);
            names::check_domain(&domain, zone).map_err(|error| error.to_string())?;
        }
        let of = |row: &RouteRow| self.book.account_by_id(row.account).map(|row| row.name.clone());
        if let Some((_, parent)) = domain.split_once('.') {
            let wildcard = format!("*.{parent}");
            let in_text = self.document.routes.get(&wildcard).map(|(_, route)| self.owner(route)).transpose()?;
            let owner = in_text.or_else(|| self.book.route(&wildcard).and_then(of));
            if owner.is_some_and(|owner| owner != account) {
                return Err(format!("{wildcard} is another account's, and so is what it stands for"));
            }
        }
        let certificate = self.book.certificate(domain).and_then(|row| self.book.account_by_id(row.account));
        if certificate.is_some_and(|row| row.name != account) {
            return Err("its certificate is another account's; that account must remove it first".to_owned());
        }
        Ok(())
    }

    fn bounds(&self, all_wrong: &mut Vec<Wrong>) {
        let Document { tiers, accounts, routes } = self.document;
        let new_tiers = tiers.keys().filter(|name| self.book.tier(name).is_none()).count();
        let new_accounts = accounts.keys().filter(|name| self.book.account(name).is_none()).count();
        let new_routes = routes.keys().filter(|domain| self.book.route(domain).is_none()).count();
        for (what, there, new, most) in [
            ("tiers", self.book.tiers().len(), new_tiers, MAX_TIERS),
            ("accounts", self.book.accounts().len(), new_accounts, MAX_ACCOUNTS),
            ("routes", self.book.routes().len(), new_routes, MAX_ROUTES),
        ] {
            if there + new > most {
                all_wrong.push(wrong(
                    1,
                    format_args!("with this there would be {} {what}, and there can be {most}", there + new),
                ));
            }
        }
    }

    /// What is there and not in the text: last, and what needs others first.
    fn unnamed(&self, plan: &mut Plan, prune: bool, all_wrong: &mut Vec<Wrong>) {
        let Document { tiers, accounts, routes } = self.document;
        let gone = self.book.accounts().filter(|row| !accounts.contains_key(&row.name));
        let gone: Vec<AccountRow> = gone.cloned().collect();
        let mut removed: Vec<Planned> = Vec::new();
        for row in self.book.routes().filter(|row| !routes.contains_key(&row.domain)) {
            let account = self.book.account_by_id(row.account).map(|row| row.name.clone()).unwrap_or_default();
            removed.push(Planned::RemoveRoute(account, row.clone()));
        }
        if prune {
            self.keep_what_is_named(&gone, all_wrong);
        }
        let mut tokens: HashMap<AccountId, usize> = HashMap::new();
        for account in self.book.tokens().filter_map(|token| token.account) {
            *tokens.entry(account).or_default() += 1;
        }
        removed.extend(gone.into_iter().map(|row| {
            let (credentials, tokens) = (self.book.count_credentials(row.id), tokens.get(&row.id).copied());
            Planned::RemoveAccount(row, credentials, tokens.unwrap_or_default())
        }));
        removed
            .extend(self.book.tiers().filter(|row| !tiers.contains_key(&row.name)).cloned().map(Planned::RemoveTier));
        if prune {
            plan.changes.extend(removed);
        } else {
            plan.unnamed = removed.len();
        }
    }

    /// What something in the text needs can't be removed for not being in it.
    fn keep_what_is_named(&self, gone: &[AccountRow], all_wrong: &mut Vec<Wrong>) {
        let Document { tiers, accounts, routes } = self.document;
        let said = |whose: String, what: &str, name: &str| {
            format!("{whose}: {what} {name} is not in the text, so --prune would remove it; write [{what}s.{name}] too")
        };
        for (domain, (at, wanted)) in routes {
            let named = wanted.account.as_ref().filter(|name| gone.iter().any(|row| row.name == **name));
            all_wrong
                .extend(named.map(|name| wrong(at.field("account"), said(format!("route {domain}"), "account", name))));
        }
        for (account, (at, wanted)) in accounts {
            // One that is nowhere was found wrong already.
            let named =
                wanted.tier.as_ref().filter(|name| !tiers.contains_key(*name) && self.book.tier(name).is_some());
            all_wrong
                .extend(named.map(|name| wrong(at.field("tier"), said(format!("account {account}"), "tier", name))));
        }
    }
}

impl Planned {
    /// As people are shown it.
    pub(crate) fn view(&self) -> AppliedChange {
        let view = |kind: &str, name: &str, action: &str, before: Option<Value>, after: Option<Value>| AppliedChange {
            kind: kind.to_owned(),
            name: name.to_owned(),
            action: action.to_owned(),
            before,
            after,
        };
        match self {
            Self::PutTier(None, row) => view("tier", &row.name, "add", None, Some(shown::tier(row))),
            Self::PutTier(Some(old), row) => {
                view("tier", &row.name, "set", Some(shown::tier(old)), Some(shown::tier(row)))
            }
            Self::AddAccount(row) => view("account", &row.name, "add", None, Some(shown::account(row))),
            Self::SetAccount(old, row) => {
                view("account", &row.name, "set", Some(shown::account(old)), Some(shown::account(row)))
            }
            Self::AddRoute(_, row) => view("route", &row.domain, "add", None, Some(shown::route(row))),
            Self::SetRoute(_, old, row) => {
                view("route", &row.domain, "set", Some(shown::route(old)), Some(shown::route(row)))
            }
            Self::RemoveRoute(_, row) => view("route", &row.domain, "remove", Some(shown::route(row)), None),
            Self::RemoveAccount(row, credentials, tokens) => {
                let mut before = shown::account(row);
                if let Some(before) = before.as_object_mut() {
                    before.extend([("credentials".into(), (*credentials).into()), ("tokens".into(), (*tokens).into())]);
                }
                view("account", &row.name, "remove", Some(before), None)
            }
            Self::RemoveTier(row) => view("tier", &row.name, "remove", Some(shown::tier(row)), None),
        }
    }
}
