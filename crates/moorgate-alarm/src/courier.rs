//! One try at telling one receiver.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use moorgate_contract::account::Account;
use moorgate_fetch::{Cause, Fetch};

use crate::{Event, Mail, Receiver, WebhookSecret, mail::words};

/// The longest that is kept of what a receiver said, in characters.
const SAID_CHARS: usize = 200;

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it; what it said.
    Delivered(String),
    /// Not now; why.
    Failed(String),
    /// Never; why.
    Refused(String),
    /// The receiver wants nothing any more (410 Gone).
    Gone,
}

/// What is told, and to whom.
#[derive(Debug)]
pub struct Letter<'a> {
    /// Its name: the same when it is tried again.
    pub id: &'a str,
    /// Whom it goes to.
    pub to: &'a Receiver,
    /// What a webhook is signed with.
    pub secret: Option<&'a WebhookSecret>,
    /// JSON of an [`Event`].
    pub body: &'a str,
    /// The time of this try, in seconds since 1970.
    pub at: u64,
}

/// Carries what is told. Cheap to clone.
#[derive(Clone)]
pub struct Courier {
    fetch: Fetch,
    mail: Option<Mail>,
}

impl Courier {
    /// `fetch` reaches webhooks; without `mail` there is none.
    pub fn new(fetch: Fetch, mail: Option<Mail>) -> Self {
        Self { fetch, mail }
    }

    /// Whether mail can be sent.
    pub fn has_mail(&self) -> bool {
        self.mail.is_some()
    }

    /// Tries once, for `account`, whose addresses a webhook is reached from. Takes two minutes at most.
    pub async fn deliver(&self, account: Arc<Account>, letter: Letter<'_>) -> Outcome {
        let outcome = match (letter.to, &self.mail) {
            (Receiver::Webhook { url, .. }, _) => match self.post(account, url.clone(), &letter).await {
                Ok(status) => judge(status),
                Err(error) => Outcome::Failed(words(&*error)),
            },
            (Receiver::Email(to), Some(mail)) => match serde_json::from_str::<Event>(letter.body) {
                Ok(event) => mail.send(to, letter.id, &event).await,
                Err(error) => Outcome::Refused(format!("what was to be told can't be read: {error}")),
            },
            (Receiver::Email(_), None) => Outcome::Failed("this gateway sends no mail: [smtp] is not set".to_owned()),
        };
        outcome.short()
    }

    async fn post(&self, account: Arc<Account>, url: http::Uri, letter: &Letter<'_>) -> Result<StatusCode, Cause> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", letter.id)
            .header("webhook-timestamp", letter.at.to_string());
        if let Some(secret) = letter.secret {
            request = request.header("webhook-signature", secret.sign(letter.id, letter.at, letter.body));
        }
        let request = request.body(Full::new(Bytes::from(letter.body.to_owned())))?;
        // What it says beside its status is of no interest.
        Ok(self.fetch.ask(account, request, None).await?.status())
    }
}

fn judge(status: StatusCode) -> Outcome {
    let said = format!("it answered {status}");
    match status {
        StatusCode::GONE => Outcome::Gone,
        status if status.is_success() => Outcome::Delivered(said),
        status if status.is_redirection() => {
            Outcome::Failed(format!("{said}, which is not followed: give the URL that it leads to"))
        }
        _ => Outcome::Failed(said),
    }
}

impl Outcome {
    /// A stranger's words within bounds, and none that acts on a terminal.
    fn short(self) -> Self {
        let short =
            |said: String| moorgate_wire::visible::visible(&said).to_string().chars().take(SAID_CHARS).collect();
        match self {
            Self::Delivered(said) => Self::Delivered(short(said)),
            Self::Failed(said) => Self::Failed(short(said)),
            Self::Refused(said) => Self::Refused(short(said)),
            Self::Gone => Self::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_counts_and_410_ends_it() {
        let judged = |status: u16| judge(StatusCode::from_u16(status).unwrap());
        for good in [200, 202, 204, 299] {
            assert!(matches!(judged(good), Outcome::Delivered(_)), "{good}");
        }
        for bad in [301, 302, 308, 400, 401, 404, 429, 500, 503] {
            assert!(matches!(judged(bad), Outcome::Failed(_)), "{bad}");
        }
        assert_eq!(judged(410), Outcome::Gone);
    }
}
