//! What to tell, given what is wrong now and what was told before. Reads no clock and touches nothing.
//!
//! Each thing is told once when it begins, again when it gets worse, and once when it is over. What comes and goes is told only
//! when it has lasted, and is over only when it has been well for as long as that asks.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use moorgate_contract::{account::AccountId, time::Timestamp};

use crate::{
    alarm_views::AlarmKind,
    book::{TroubleKey, TroubleRow},
};

/// How long DNS must lead elsewhere: a resolver that was wrong is asked again within seconds.
const DNS_LASTS: Duration = Duration::from_secs(120);
/// How long an origin's checks must fail: the restart of an app takes less.
const ORIGIN_LASTS: Duration = Duration::from_secs(60);
/// How long either must have been well: what flaps is one trouble.
const WELL: Duration = Duration::from_secs(120);

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: AlarmKind,
    /// On what: a domain, a username, a quota.
    pub(crate) about: String,
    /// How bad it is, from 1 on.
    pub(crate) stage: u8,
    /// Since when, where that is known better than by having looked.
    pub(crate) since: Option<Timestamp>,
    /// What happened, in one sentence.
    pub(crate) said: String,
    /// What to do.
    pub(crate) todo: String,
}

/// What was found in an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    pub(crate) wrong: Vec<Trouble>,
    /// The kinds that were looked at. Of others nobody knows, and nothing is over.
    pub(crate) kinds: BTreeSet<AlarmKind>,
    /// Of what nobody knows either.
    pub(crate) unknown: HashSet<(AlarmKind, String)>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// It has begun.
    Begun(Trouble, Timestamp),
    /// It is worse than what was told.
    Worse(Trouble, Timestamp),
    /// What was told is over.
    Over(TroubleRow),
}

/// Since when something is wrong, and when it was so last.
#[derive(Clone, Copy, Debug)]
struct Spell {
    from: Timestamp,
    last: Timestamp,
}

/// What is wrong and for how long: what flaps is known by it. It is lost with the process, and nothing is told twice by that.
#[derive(Debug, Default)]
pub(crate) struct Spells(HashMap<TroubleKey, Spell>);

fn lasts(kind: AlarmKind) -> Duration {
    match kind {
        AlarmKind::Dns => DNS_LASTS,
        AlarmKind::Origin => ORIGIN_LASTS,
        // What these say does not come and go.
        AlarmKind::Quota | AlarmKind::Certificate | AlarmKind::NeverUsed | AlarmKind::Stopped => Duration::ZERO,
    }
}

fn well(kind: AlarmKind) -> Duration {
    match kind {
        AlarmKind::Dns | AlarmKind::Origin => WELL,
        AlarmKind::Quota | AlarmKind::Certificate | AlarmKind::NeverUsed | AlarmKind::Stopped => Duration::ZERO,
    }
}

impl Spells {
    /// What an account is to be told.
    pub(crate) fn judge(
        &mut self,
        account: AccountId,
        looked: &Looked,
        told: &[TroubleRow],
        now: Timestamp,
    ) -> Vec<Telling> {
        let key = |kind, about: &str| TroubleKey { account, kind, about: about.to_owned() };
        let told: HashMap<TroubleKey, &TroubleRow> = told.iter().map(|row| (row.key(), row)).collect();
        let mut tellings = Vec::new();
        let mut wrong = HashSet::new();
        for trouble in &looked.wrong {
            let key = key(trouble.kind, &trouble.about);
            let spell = self.0.entry(key.clone()).or_insert(Spell { from: now, last: now });
            spell.last = now;
            let since = trouble.since.unwrap_or(spell.from);
            match told.get(&key) {
                None if now.since(spell.from) >= lasts(trouble.kind) => {
                    tellings.push(Telling::Begun(trouble.clone(), since));
                }
                Some(row) if trouble.stage > row.stage => tellings.push(Telling::Worse(trouble.clone(), row.since)),
                _ => {}
            }
            wrong.insert(key);
        }
        let is_known = |key: &TroubleKey| {
            looked.kinds.contains(&key.kind) && !looked.unknown.contains(&(key.kind, key.about.clone()))
        };
        for (key, row) in &told {
            if wrong.contains(key) {
                continue;
            }
            // First seen to be well now, it may have been told by a run before this one.
            let spell = self.0.entry(key.clone()).or_insert(Spell { from: row.since, last: now });
            if !is_known(key) {
                spell.last = now;
            } else if now.since(spell.last) >= well(key.kind) {
                tellings.push(Telling::Over((*row).clone()));
            }
        }
        self.0.retain(|key, spell| {
            key.account != account
                || wrong.contains(key)
                || told.contains_key(key)
                || !is_known(key)
                || now.since(spell.last) < well(key.kind)
        });
        tellings
    }

    /// Forgets whoever is not among these.
    pub(crate) fn keep(&mut self, accounts: &BTreeSet<AccountId>) {
        self.0.retain(|key, _| accounts.contains(&key.account));
    }
}

#[cfg(test)]
mod tests;
