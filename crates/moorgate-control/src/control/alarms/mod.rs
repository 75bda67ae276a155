//! Alarms: who is told of what is wrong, what they are told, and that they hear of it once.
//!
//! What is wrong is found by `find`, what of it is to be told by `judge`, and written by `tell` in one transaction with what
//! has yet to reach each receiver; `deliver` tries that until it has. Whoever of the gateways on a store has the duty does so.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use moorgate_alarm::{Receiver, WebhookSecret};
use moorgate_contract::{account::AccountId, guard::Sight};
use moorgate_keys::{open, seal};
use moorgate_wire::host::Host;

use super::{Control, Inner, Session, now};
use crate::{
    alarm_views::{AlarmKind, AlarmTry, AlarmView, NewAlarm},
    book::AlarmRow,
    error::{ControlError, Invalid, Result, What, short},
    limits::{MAX_ALARMS, TEST_PAUSE},
    secret::{SigningSecret, random_token_id},
    settings::AlarmSettings,
    store::Told,
};

mod deliver;
mod find;
pub(crate) mod judge;
mod tell;
mod watch;

pub(crate) use watch::Watch;

/// What a webhook's secret is sealed for.
const PURPOSE: &str = "webhook secret";

/// What alarms are sent with.
pub(crate) struct Alarming {
    /// `None`: nothing is sent.
    settings: Option<AlarmSettings>,
    /// When receivers were tested last.
    tested: Mutex<HashMap<String, Instant>>,
}

impl Alarming {
    pub(crate) fn new(settings: Option<AlarmSettings>) -> Self {
        Self { settings, tested: Mutex::default() }
    }
}

impl Control {
    /// Whether alarms can be mailed.
    pub fn sends_mail(&self) -> bool {
        self.inner.alarming.settings.as_ref().is_some_and(|settings| settings.courier.has_mail())
    }

    /// Has an account's alarms of these kinds told to a URL or an email address. The secret that its webhooks are signed with
    /// is told here and nowhere else.
    ///
    /// # Errors
    /// [`Invalid::Receiver`] and others of [`Invalid`], [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn add_alarm(&self, account: &str, receiver: &str, kinds: &[AlarmKind]) -> Result<NewAlarm> {
        let wrong = |why| Invalid::Receiver { receiver: short(receiver), why };
        let read = Receiver::parse(receiver).map_err(wrong)?;
        let kinds: BTreeSet<AlarmKind> = kinds.iter().copied().collect();
        if kinds.is_empty() {
            return Err(Invalid::NoAlarmKinds.into());
        }
        if !read.is_webhook() && !self.sends_mail() {
            return Err(Invalid::NoMail.into());
        }
        self.inner.refuse_receiver(&read)?;
        let (account, receiver) = (account.to_owned(), receiver.trim().to_owned());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let id = inner.account_id(&account)?;
            let (count, is_known) = {
                let book = inner.book();
                let known = book.alarms().of(id).any(|row| row.receiver == receiver);
                (book.alarms().of(id).count(), known)
            };
            if is_known {
                return Err(Invalid::ReceiverTwice { receiver }.into());
            }
            if count >= MAX_ALARMS {
                return Err(Invalid::TooMany { what: What::Alarm, limit: MAX_ALARMS }.into());
            }
            let secret = match read.is_webhook() {
                true => Some(WebhookSecret::random().ok_or(ControlError::Random)?),
                false => None,
            };
            let sealed = secret.as_ref().map(|secret| seal(inner.store_key.key(), PURPOSE, secret.bytes()));
            let row = AlarmRow {
                id: random_token_id()?,
                account: id,
                receiver,
                kinds,
                secret: sealed.transpose().map_err(ControlError::Seal)?,
                created: now(),
                off: String::new(),
            };
            let new = NewAlarm { id: row.id.clone(), secret: secret.as_ref().map(SigningSecret::of) };
            session.put_alarm(&account, "add", None, row).await?;
            session.commit().await?;
            Ok(new)
        };
        self.write(operation).await
    }

    /// The receivers of an account's alarms, oldest first, with what became of the last try at each.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn list_alarms(&self, account: &str) -> Result<Vec<AlarmView>> {
        let id = self.inner.account_id(account)?;
        let mut rows: Vec<AlarmRow> = self.inner.book().alarms().of(id).cloned().collect();
        rows.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // While the store is down it is only known who there is.
        let read = self.aside(async move |mut store| {
            let told = store.told(id).await?;
            Ok((store, told))
        });
        let (mut told, waiting) = read.await.unwrap_or_default();
        let view = |row: AlarmRow| AlarmView {
            last: told.remove(&row.id).map(AlarmTry::from),
            waiting: waiting.get(&row.id).copied().unwrap_or_default(),
            kinds: row.kinds.into_iter().collect(),
            off: (!row.off.is_empty()).then_some(row.off),
            id: row.id,
            receiver: row.receiver,
            created: row.created,
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn alarm(&self, account: &str, id: &str) -> Result<AlarmView> {
        let all = self.list_alarms(account).await?;
        all.into_iter().find(|one| one.id == id).ok_or_else(|| ControlError::not_found(What::Alarm, id))
    }

    /// Removes a receiver: nothing is sent to it from now on.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn remove_alarm(&self, account: &str, id: &str) -> Result<()> {
        let (account, id) = (account.to_owned(), id.to_owned());
        let operation = async move |mut session: Session| {
            let row = session.inner.alarm_row(&account, &id)?;
            session.remove_alarm(&account, &row).await?;
            session.commit().await
        };
        self.write(operation).await
    }

    /// Tells a receiver something of no meaning, once and now. What became of it is the answer, and listed from then on.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::TestTooSoon`], [`ControlError::StoreDown`].
    pub async fn test_alarm(&self, account: &str, id: &str) -> Result<AlarmTry> {
        let row = self.inner.alarm_row(account, id)?;
        {
            let mut tested = super::lock(&self.inner.alarming.tested);
            tested.retain(|_, at| at.elapsed() < TEST_PAUSE);
            if tested.contains_key(id) {
                return Err(Invalid::TestTooSoon.into());
            }
            tested.insert(id.to_owned(), Instant::now());
        }
        let told = self.deliver_test(account, &row).await?;
        let (alarm, noted) = (row.id, Told { said: format!("a test: {}", told.said), ..told.clone() });
        let note = self.aside(async move |mut store| {
            store.note_told(&alarm, &noted).await?;
            Ok((store, ()))
        });
        note.await?;
        Ok(told.into())
    }
}

impl Inner {
    fn alarm_row(&self, account: &str, id: &str) -> Result<AlarmRow> {
        let account = self.account_id(account)?;
        let not_found = || ControlError::not_found(What::Alarm, id);
        self.book().alarms().one(account, id).cloned().ok_or_else(not_found)
    }

    /// An address is judged at once, so that nobody waits for what never comes; a name when it is resolved.
    fn refuse_receiver(&self, receiver: &Receiver) -> Result<(), Invalid> {
        let Receiver::Webhook { place, .. } = receiver else { return Ok(()) };
        let ip: IpAddr = match &place.host {
            Host::Name(_) => return Ok(()),
            Host::V4(address) => (*address).into(),
            Host::V6(address) => (*address).into(),
        };
        let (address, host) = (SocketAddr::new(ip, place.port), SocketAddr::new(ip, place.port).to_string());
        match self.current.load().site.guard.judge(address, &self.plane.presence()) {
            Sight::Open => Ok(()),
            Sight::Special(class) => Err(Invalid::ReceiverGuarded { host, class }),
            Sight::OwnListener => Err(Invalid::ReceiverKept { host, class: "a listener of this gateway" }),
            Sight::Kept(class) => Err(Invalid::ReceiverKept { host, class }),
        }
    }

    /// What a receiver's webhooks are signed with. `None`: there is none, or it can't be opened.
    fn signing_secret(&self, row: &AlarmRow) -> Option<WebhookSecret> {
        let opened = open(self.store_key.key(), PURPOSE, row.secret.as_deref()?);
        opened
            .inspect_err(|error| tracing::error!(%error, alarm = row.id, "a webhook's secret can't be opened"))
            .ok()
            .map(WebhookSecret::of_bytes)
    }

    /// Whoever has receivers that are on, and what they want of it.
    fn wanted(&self, account: AccountId) -> BTreeSet<AlarmKind> {
        let book = self.book();
        let of = book.alarms().of(account).filter(|row| row.off.is_empty());
        of.flat_map(|row| row.kinds.iter().copied()).collect()
    }
}

impl From<Told> for AlarmTry {
    fn from(told: Told) -> Self {
        let Told { at, delivered, said } = told;
        Self { at, delivered, said }
    }
}

/// The account as traffic has it, from whose addresses webhooks leave.
fn served(inner: &Inner, account: &str) -> Option<Arc<moorgate_contract::account::Account>> {
    inner.current.load().account(account).cloned()
}
