//! Telling: what receivers are told of is written together with what has yet to reach them, so that each of it is told once,
//! whichever gateways look.

use moorgate_alarm::{Event, Matter};
use moorgate_contract::{account::AccountId, time::Timestamp};
use moorgate_wire::visible::visible;

use super::judge::Telling;
use crate::{
    alarm_views::AlarmKind,
    book::{AlarmRow, TroubleKey, TroubleRow},
    control::{Control, Inner, Session, now},
    error::Result,
    limits::{MAX_WAITING, TOLD_AT_ONCE},
    secret::random_label,
    shown::second,
    store::Delivery,
};

/// What becomes of a trouble.
#[derive(Clone, Copy)]
enum Turn {
    Begun,
    Worse,
    Over,
}

impl Turn {
    /// In the type of an event.
    fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Worse => "worse",
            Self::Over => "over",
        }
    }
}

/// What a receiver is told, before it is known which.
struct Told {
    kind: AlarmKind,
    turn: Turn,
    about: String,
    said: String,
    todo: String,
    since: Timestamp,
}

impl Control {
    /// Has an account's receivers told. `forgotten`: what nobody wants to be told of any more.
    pub(crate) async fn tell(
        &self,
        account: AccountId,
        tellings: Vec<Telling>,
        forgotten: Vec<TroubleRow>,
    ) -> Result<()> {
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let name = inner.account_name(account);
            let mut told = Vec::new();
            for telling in tellings {
                told.extend(session.note_telling(account, &name, telling).await?);
            }
            for row in forgotten {
                if inner.known_trouble(&row.key()).is_some_and(|known| known == row) {
                    session.remove_trouble(&name, &row).await?;
                }
            }
            let receivers: Vec<AlarmRow> = inner.book().alarms().of(account).cloned().collect();
            for receiver in receivers {
                session.send(&name, &receiver, &told).await?;
            }
            session.commit().await
        };
        self.write(operation).await
    }
}

impl Session {
    /// Writes it down, unless another gateway has.
    async fn note_telling(&mut self, account: AccountId, name: &str, telling: Telling) -> Result<Option<Told>> {
        let (turn, trouble, since) = match telling {
            Telling::Begun(trouble, since) => (Turn::Begun, trouble, since),
            Telling::Worse(trouble, since) => (Turn::Worse, trouble, since),
            Telling::Over(row) => {
                if self.inner.known_trouble(&row.key()).is_none_or(|known| known != row) {
                    return Ok(None);
                }
                self.remove_trouble(name, &row).await?;
                let said = format!("It is over: {}", row.said);
                let (kind, about, since) = (row.kind, row.about, row.since);
                return Ok(Some(Told { kind, turn: Turn::Over, about, said, todo: String::new(), since }));
            }
        };
        let (kind, about, stage, said) = (trouble.kind, trouble.about, trouble.stage, trouble.said);
        let row = TroubleRow { account, kind, about: about.clone(), stage, since, said: said.clone() };
        let known = self.inner.known_trouble(&row.key());
        if known.as_ref().is_some_and(|known| known.stage >= row.stage) {
            return Ok(None);
        }
        let action = if known.is_some() { "worsen" } else { "begin" };
        self.put_trouble(name, action, known.as_ref(), row).await?;
        Ok(Some(Told { kind, turn, about, said, todo: trouble.todo, since }))
    }

    /// Puts what a receiver wants to be told of on its way.
    async fn send(&mut self, account: &str, receiver: &AlarmRow, told: &[Told]) -> Result<()> {
        let wanted: Vec<&Told> = told.iter().filter(|told| receiver.wants(told.kind)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let waiting = self.tx()?.waiting_for(&receiver.id).await?;
        if waiting >= MAX_WAITING {
            tracing::error!(
                account,
                alarm = receiver.id,
                waiting,
                "a receiver of alarms takes none, and is not told more"
            );
            return Ok(());
        }
        let mut events: Vec<Event> =
            wanted.iter().take(TOLD_AT_ONCE).map(|told| self.inner.event(account, told)).collect();
        if let Some(more) = wanted.len().checked_sub(TOLD_AT_ONCE).filter(|more| *more > 0) {
            events.push(self.inner.event_of_more(account, more));
        }
        for event in events {
            let id = format!("msg_{}", random_label()?);
            // Texts alone: nothing in them can fail to be JSON.
            let body = serde_json::to_string(&event).unwrap_or_default();
            let (alarm, account) = (receiver.id.clone(), receiver.account);
            self.tx()?.insert_delivery(&Delivery { id, alarm, account, body, created: now(), tries: 0 }).await?;
        }
        Ok(())
    }
}

impl Inner {
    fn known_trouble(&self, key: &TroubleKey) -> Option<TroubleRow> {
        self.book().alarms().trouble(key).cloned()
    }

    fn event(&self, account: &str, told: &Told) -> Event {
        let Told { kind, turn, about, said, todo, since } = told;
        Event {
            kind: format!("{}.{}", kind.name(), turn.name()),
            timestamp: second(now()),
            data: Matter {
                account: account.to_owned(),
                about: about.clone(),
                // Others may have named what it is about, and said why it failed.
                said: visible(said).to_string(),
                todo: todo.clone(),
                since: second(*since),
                link: self.link(account, Some((*kind, about))),
            },
        }
    }

    /// Of many at once.
    fn event_of_more(&self, account: &str, more: usize) -> Event {
        let said = format!("There are {more} more that have changed at the same time.");
        self.plain_event("more", account, &said, "The console lists them.")
    }

    /// An event of no kind.
    pub(super) fn plain_event(&self, kind: &str, account: &str, said: &str, todo: &str) -> Event {
        let at = second(now());
        let (said, todo) = (said.to_owned(), todo.to_owned());
        let link = self.link(account, None);
        let (account, about) = (account.to_owned(), account.to_owned());
        Event {
            kind: kind.to_owned(),
            timestamp: at.clone(),
            data: Matter { account, about, said, todo, since: at, link },
        }
    }

    /// Where the console shows more of it.
    fn link(&self, account: &str, of: Option<(AlarmKind, &str)>) -> String {
        let console = self.alarming.settings.as_ref().map_or("", |settings| settings.console_url.as_str());
        let page = match of {
            // An origin is named behind its domain.
            Some((AlarmKind::Certificate | AlarmKind::Dns | AlarmKind::Origin, about)) => {
                format!("/routes/{}", about.split(' ').next().unwrap_or_default())
            }
            Some((AlarmKind::NeverUsed | AlarmKind::Stopped, _)) => "/credentials".to_owned(),
            Some((AlarmKind::Quota, _)) | None => String::new(),
        };
        format!("{console}/a/{account}{page}")
    }
}
