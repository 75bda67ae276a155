//! Delivery: tried with growing pauses for about a day, over restarts, by one gateway at a time.

use std::{collections::HashMap, time::Duration};

use moorgate_alarm::{Letter, Outcome, Receiver};
use moorgate_contract::account::AccountId;
use tokio::time::timeout;

use super::served;
use crate::{
    book::AlarmRow,
    control::{Control, Session, now},
    error::{Result, chain},
    limits::{DELIVERIES_OF_ACCOUNT, DELIVERY_HOLD, TEST_TIME},
    secret::random_label,
    store::{Delivery, Told},
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// Pauses after the first try and each one after it, in seconds: some for a receiver that restarts, the others for one that
/// somebody has to mend. Together they are a day; then it is given up.
const PAUSES: [u64; 10] =
    [5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 8 * HOUR + 17 * MINUTE];

/// In how long it is tried again after so many tries; `None`: not any more.
fn pause_after(tries: u64) -> Option<Duration> {
    let seconds = PAUSES.get(usize::try_from(tries).ok()?.checked_sub(1)?)?;
    Some(Duration::from_secs(*seconds))
}

impl Control {
    /// Takes up what is due, up to `most` of it. `busy`: what of each account is under way.
    pub(super) async fn claim_deliveries(&self, most: usize, busy: HashMap<AccountId, usize>) -> Result<Vec<Delivery>> {
        let run = self.inner.counting.run.clone();
        self.aside(async move |mut store| {
            let bounds = (most, DELIVERIES_OF_ACCOUNT);
            let claimed = store.claim_deliveries(&run, DELIVERY_HOLD, bounds, &busy).await?;
            Ok((store, claimed))
        })
        .await
    }

    /// Tries once.
    pub(super) async fn deliver(&self, delivery: Delivery) {
        let (row, account) = {
            let book = self.inner.book();
            let row = book.alarms().one(delivery.account, &delivery.alarm).cloned();
            (row, book.account_by_id(delivery.account).map(|row| row.name.clone()).unwrap_or_default())
        };
        // Removed meanwhile, and with it what waits for it.
        let Some(row) = row else { return };
        let outcome = match row.off.is_empty() {
            true => self.try_once(&account, &row, &delivery.id, &delivery.body).await,
            false => Outcome::Refused(row.off.clone()),
        };
        let tries = delivery.tries + 1;
        let (delivered, said, again) = match outcome {
            Outcome::Delivered(said) => (true, said, None),
            Outcome::Refused(said) => (false, said, None),
            Outcome::Gone => {
                self.turn_off(&account, &row).await;
                (false, GONE.to_owned(), None)
            }
            Outcome::Failed(said) => match pause_after(tries) {
                Some(pause) => (false, format!("{said}; tried again in {}", in_words(pause)), Some(pause)),
                None => {
                    tracing::error!(account, alarm = row.id, said, "a receiver of alarms could not be told for a day");
                    (false, format!("{said}; given up after {tries} tries"), None)
                }
            },
        };
        let told = Told { at: now(), delivered, said };
        let concluded = self.aside(async move |mut store| {
            store.conclude_delivery(&delivery.id, &delivery.alarm, &told, again).await?;
            Ok((store, ()))
        });
        if let Err(error) = concluded.await {
            tracing::warn!(error = chain(&error), "what became of an alarm is not written; it may be sent again");
        }
    }

    /// Something of no meaning, once.
    pub(super) async fn deliver_test(&self, account: &str, row: &AlarmRow) -> Result<Told> {
        let said = "This is a test: alarms of this account reach you here.";
        let event = self.inner.plain_event("test", account, said, "Nothing.");
        let body = serde_json::to_string(&event).unwrap_or_default();
        let id = format!("msg_{}", random_label()?);
        let outcome = timeout(TEST_TIME, self.try_once(account, row, &id, &body)).await;
        let late = || Outcome::Failed(format!("it had not answered after {} s", TEST_TIME.as_secs()));
        let outcome = outcome.unwrap_or_else(|_| late());
        let (delivered, said) = match outcome {
            Outcome::Delivered(said) => (true, said),
            Outcome::Failed(said) | Outcome::Refused(said) => (false, said),
            // Whoever tests sees it; what is told of itself turns it off.
            Outcome::Gone => (false, "it answered 410 Gone: it wants nothing".to_owned()),
        };
        Ok(Told { at: now(), delivered, said })
    }

    async fn try_once(&self, account: &str, row: &AlarmRow, id: &str, body: &str) -> Outcome {
        let Some(settings) = &self.inner.alarming.settings else {
            return Outcome::Failed("this gateway sends no alarms".to_owned());
        };
        let to = match Receiver::parse(&row.receiver) {
            Ok(to) => to,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let secret = self.inner.signing_secret(row);
        if to.is_webhook() && secret.is_none() {
            return Outcome::Failed("its secret can't be opened; remove it and add it again".to_owned());
        }
        let Some(account) = served(&self.inner, account) else {
            return Outcome::Failed("the account can't be served; the gateway's log says why".to_owned());
        };
        let at = now().seconds();
        settings.courier.deliver(account, Letter { id, to: &to, secret: secret.as_ref(), body, at }).await
    }

    /// The receiver wants nothing any more. Loudly: whoever relied on it hears nothing from now on.
    async fn turn_off(&self, account: &str, row: &AlarmRow) {
        tracing::warn!(account, alarm = row.id, "a receiver of alarms answered 410 Gone and is turned off");
        let (name, id) = (account.to_owned(), row.id.clone());
        let operation = async move |mut session: Session| {
            let old = session.inner.alarm_row(&name, &id)?;
            let row = AlarmRow { off: GONE.to_owned(), ..old.clone() };
            session.put_alarm(&name, "turn off", Some(&old), row).await?;
            session.commit().await
        };
        if let Err(error) = self.write(operation).await {
            tracing::warn!(error = chain(&error), "a receiver that is gone stays on for now");
        }
    }
}

/// Why a receiver is off.
const GONE: &str = "it answered 410 Gone, so nothing is sent to it any more; remove it, or remove it and add it again";

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < MINUTE => format!("{seconds} s"),
        seconds if seconds < HOUR => format!("{} min", seconds / MINUTE),
        seconds => format!("{} h", seconds / HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_tried_for_a_day_ever_more_seldom() {
        let pauses: Vec<u64> = (1..).map_while(|tries| pause_after(tries).map(|pause| pause.as_secs())).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        let total: u64 = pauses.iter().sum();
        assert!((23 * HOUR..=25 * HOUR).contains(&total), "{total}");
        assert_eq!((pause_after(0), pause_after(u64::MAX)), (None, None));
        assert_eq!([5, 120, 7_200].map(|s| in_words(Duration::from_secs(s))), ["5 s", "2 min", "2 h"]);
    }
}
