//! Looks all the time what is wrong, and has it told.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use moorgate_contract::account::AccountId;
use tokio::task::{JoinHandle, JoinSet};

use super::judge::{Looked, Spells};
use crate::{
    alarm_views::AlarmKind,
    book::{AccountRow, TroubleRow},
    control::{Control, now},
    error::chain,
    limits::{DELIVERIES_AT_ONCE, LOOK_QUICKLY, LOOK_SLOWLY},
};

/// Looks, and sends.
#[derive(Default)]
pub(crate) struct Watch {
    sight: Option<Sight>,
    looking: Option<JoinHandle<Sight>>,
    looked: Option<Instant>,
    sending: JoinSet<AccountId>,
    /// How much of each account is under way.
    busy: HashMap<AccountId, usize>,
    claiming: Option<JoinHandle<Vec<crate::store::Delivery>>>,
}

/// What is known from one look to the next.
#[derive(Default)]
struct Sight {
    spells: Spells,
    /// When what takes longer was looked at last, and for whom.
    slowly: HashMap<AccountId, (Instant, BTreeSet<String>)>,
}

impl Watch {
    pub(crate) fn go_on(&mut self, control: &Control) {
        let inner = &control.inner;
        let is_of_use = inner.trouble().is_none() && inner.has_duty();
        if !is_of_use {
            // Whoever has the duty next begins anew, and so does this one.
            self.sight = None;
        }
        self.look(control, is_of_use);
        self.send(control, is_of_use && inner.alarming.settings.is_some());
    }

    fn look(&mut self, control: &Control, may_look: bool) {
        if let Some(looking) = self.looking.take_if(|looking| looking.is_finished()) {
            // It has ended: this does not wait. One that broke off begins anew.
            self.sight = futures_util::FutureExt::now_or_never(looking).and_then(Result::ok);
        }
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_QUICKLY);
        if self.looking.is_some() || !may_look || !is_due || control.inner.book().alarms().accounts().is_empty() {
            return;
        }
        self.looked = Some(Instant::now());
        let (control, mut sight) = (control.clone(), self.sight.take().unwrap_or_default());
        self.looking = Some(tokio::spawn(async move {
            control.look(&mut sight).await;
            sight
        }));
    }

    fn send(&mut self, control: &Control, may_send: bool) {
        while let Some(done) = self.sending.try_join_next() {
            if let Ok(account) = done
                && let Some(count) = self.busy.get_mut(&account)
            {
                *count = count.saturating_sub(1);
            }
        }
        if self.sending.is_empty() {
            // What broke off has left its count behind.
            self.busy.clear();
        }
        if let Some(claiming) = self.claiming.take_if(|claiming| claiming.is_finished()) {
            for delivery in futures_util::FutureExt::now_or_never(claiming).and_then(Result::ok).unwrap_or_default() {
                *self.busy.entry(delivery.account).or_default() += 1;
                let control = control.clone();
                self.sending.spawn(async move {
                    let account = delivery.account;
                    control.deliver(delivery).await;
                    account
                });
            }
        }
        let room = DELIVERIES_AT_ONCE.saturating_sub(self.sending.len());
        let has_receivers = control.inner.book().alarms().all().next().is_some();
        if !may_send || !has_receivers || room == 0 || self.claiming.is_some() {
            return;
        }
        let (control, busy) = (control.clone(), self.busy.clone());
        self.claiming = Some(tokio::spawn(async move {
            let claimed = control.claim_deliveries(room, busy).await;
            claimed.unwrap_or_else(|error| {
                tracing::debug!(error = chain(&error), "what is to be told waits");
                Vec::new()
            })
        }));
    }
}

impl Control {
    async fn look(&self, sight: &mut Sight) {
        let accounts = self.inner.book().alarms().accounts();
        sight.spells.keep(&accounts);
        sight.slowly.retain(|account, _| accounts.contains(account));
        for account in accounts {
            self.look_at_account(account, sight).await;
        }
    }

    async fn look_at_account(&self, account: AccountId, sight: &mut Sight) {
        let row: Option<AccountRow> = self.inner.book().account_by_id(account).cloned();
        let Some(row) = row else { return };
        let wanted = self.inner.wanted(account);
        let mut looked = Looked::default();
        if !wanted.is_empty() {
            self.inner.find_quick(&row, &mut looked);
            if self.is_time_to_look(account, sight) {
                self.find_slow(&row, &mut looked).await;
            }
        }
        looked.wrong.retain(|trouble| wanted.contains(&trouble.kind));
        looked.kinds.retain(|kind| wanted.contains(kind));
        let told: Vec<TroubleRow> = self.inner.book().alarms().troubles_of(account).cloned().collect();
        let is_wanted = |kind: AlarmKind| wanted.contains(&kind);
        let (told, forgotten): (Vec<_>, Vec<_>) = told.into_iter().partition(|row| is_wanted(row.kind));
        let tellings = sight.spells.judge(account, &looked, &told, now());
        if tellings.is_empty() && forgotten.is_empty() {
            return;
        }
        if let Err(error) = self.tell(account, tellings, forgotten).await {
            tracing::warn!(error = chain(&error), account = row.name, "an alarm is not told for now");
        }
    }

    /// Whether an account is due for what takes longer: now and then, and when its receivers have changed.
    fn is_time_to_look(&self, account: AccountId, sight: &mut Sight) -> bool {
        let receivers: BTreeSet<String> = self.inner.book().alarms().of(account).map(|row| row.id.clone()).collect();
        let known = sight.slowly.get(&account);
        if known.is_some_and(|(at, before)| at.elapsed() < LOOK_SLOWLY && *before == receivers) {
            return false;
        }
        sight.slowly.insert(account, (Instant::now(), receivers));
        true
    }
}
