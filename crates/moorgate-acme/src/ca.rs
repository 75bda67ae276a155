//! A CA, and what is asked of it.

use std::{pin::Pin, time::Duration};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, ExternalAccountKey,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use moorgate_contract::{
    certificate::{Challenge, ChallengeKind},
    time::Timestamp,
};
use moorgate_keys::request::{KeyKind, KeyRequest};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    Fetch, Kind, Problem,
    problem::{is_nonce, words},
};

/// How often something is asked again that the CA wants another nonce for. Some CAs refuse half of them on purpose.
const NONCES: usize = 12;
/// How long a CA may take to look, and then to issue.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(Duration::from_secs(120));

/// Asks again while the CA wants another nonce.
macro_rules! again {
    ($ca:expr, $ask:expr) => {{
        let mut left = NONCES;
        loop {
            match $ask.await {
                Ok(done) => break Ok(done),
                Err(error) if !is_nonce(&error) => break Err($ca.problem(&error)),
                Err(_) if left == 0 => break Err($ca.no_nonce()),
                Err(_) => left -= 1,
            }
        }
    }};
}

/// An external account binding (RFC 8555 §7.3.4).
#[derive(Clone)]
pub struct Binding {
    /// Which of the CA's keys.
    pub key_id: String,
    /// The key.
    pub hmac_key: Zeroizing<Vec<u8>>,
}

/// A CA that issues by ACME.
#[derive(Clone)]
pub struct Ca {
    /// Where its directory is.
    pub directory: String,
    /// Where it may write to, such as `mailto:ops@example.com`.
    pub contact: Option<String>,
    /// Whose customer we are, where the CA wants to know.
    pub binding: Option<Binding>,
    /// Which of its profiles certificates are to have.
    pub profile: Option<String>,
    /// How it is reached.
    pub fetch: Fetch,
}

/// What is ordered.
pub struct Wanted<'a> {
    /// The one name: a domain, or `*.` and a domain.
    pub name: String,
    /// For which kind of key.
    pub key: KeyKind,
    /// Where the CA may look, the best first.
    pub kinds: Vec<ChallengeKind>,
    /// The certificate that it takes the place of (DER).
    pub replaces: Option<&'a [u8]>,
}

/// Where a challenge is shown.
pub trait Show: Send + Sync {
    /// Has it shown everywhere where the CA may look. When it returns, it is.
    ///
    /// # Errors
    /// Why it can't be, in words.
    fn show(&self, challenge: Challenge) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// A certificate that was issued, and its key.
pub struct Issued {
    /// PEM, the end entity's first, then each one's issuer.
    pub chain: String,
    /// PEM.
    pub key: Zeroizing<String>,
}

/// When a CA would have a certificate renewed (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From when on.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// How long until it is to be asked again.
    pub again: Duration,
}

impl Ca {
    /// Registers an account; what is to be kept of it, a secret.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn register(&self) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let contact: Vec<&str> = self.contact.as_deref().into_iter().collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding =
            self.binding.as_ref().map(|binding| ExternalAccountKey::new(binding.key_id.clone(), &binding.hmac_key));
        for _ in 0..NONCES {
            let builder = Account::builder_with_http(Box::new(self.fetch.clone()));
            match builder.create(&new, self.directory.clone(), binding.as_ref()).await {
                Ok((_, credentials)) => {
                    let kept = serde_json::to_vec(&credentials);
                    return kept.map(Zeroizing::new).map_err(|error| self.problem(&error.into()));
                }
                Err(error) if is_nonce(&error) => {}
                Err(error) => return Err(self.problem(&error)),
            }
        }
        Err(self.no_nonce())
    }

    /// Orders a certificate by the account that was registered, and has shown what the CA looks for.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn order(&self, account: &[u8], wanted: &Wanted<'_>, show: &dyn Show) -> Result<Issued, Problem> {
        let account = self.account(account).await?;
        let mut order = self.begin(&account, wanted).await?;
        if order.state().status == OrderStatus::Pending {
            self.prove(&mut order, wanted, show).await?;
        }
        let request = KeyRequest::new(&wanted.name, wanted.key).map_err(|error| Problem::new(Kind::Refused, error))?;
        again!(self, order.finalize_csr(&request.csr))?;
        let chain = again!(self, order.poll_certificate(&PATIENCE))?;
        Ok(Issued { chain, key: request.key })
    }

    /// When the CA would have a certificate (DER) renewed; `None`: it does not say.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn window(&self, account: &[u8], certificate: &[u8]) -> Result<Option<Window>, Problem> {
        let account = self.account(account).await?;
        let certificate = CertificateDer::from(certificate);
        let Ok(identifier) = CertificateIdentifier::try_from(&certificate) else { return Ok(None) };
        let time = |at: i64| Timestamp(u64::try_from(at).unwrap_or_default().saturating_mul(1_000_000));
        match account.renewal_info(&identifier).await {
            Ok((info, again)) => {
                let (start, end) = (info.suggested_window.start, info.suggested_window.end);
                let (start, end) = (time(start.unix_timestamp()), time(end.unix_timestamp()));
                Ok(Some(Window { start, end, again }))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(self.problem(&error)),
        }
    }

    /// The names by which CAA records allow the CA (RFC 8555 §9.7.6); none: it does not say.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn identities(&self) -> Result<Vec<String>, Problem> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Directory {
            meta: Meta,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Meta {
            caa_identities: Vec<String>,
        }
        let answer = self.look_up().await?;
        let directory: Directory =
            serde_json::from_slice(answer.body()).map_err(|error| self.problem(&error.into()))?;
        Ok(directory.meta.caa_identities)
    }

    /// What time it is there, if it says so (RFC 9110 §6.6.1).
    ///
    /// # Errors
    /// [`Problem`]: it does not answer as a CA does.
    pub async fn clock(&self) -> Result<Option<Timestamp>, Problem> {
        let answer = self.look_up().await?;
        if !answer.status().is_success() {
            let said = format!("{} is no ACME directory: it answers {}", self.directory, answer.status());
            return Err(Problem::new(Kind::Unreachable, said));
        }
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        Ok(date.map(Timestamp::from))
    }

    async fn look_up(&self) -> Result<http::Response<bytes::Bytes>, Problem> {
        let request = http::Request::get(&self.directory).body(Default::default());
        let request = request.map_err(|error| Problem::new(Kind::Unreachable, error))?;
        self.fetch.ask(request).await.map_err(|error| self.problem(&Error::Other(error)))
    }

    async fn account(&self, kept: &[u8]) -> Result<Account, Problem> {
        let credentials: AccountCredentials = serde_json::from_slice(kept)
            .map_err(|_| Problem::new(Kind::Refused, "what is kept of the account at the CA can't be read"))?;
        let builder = Account::builder_with_http(Box::new(self.fetch.clone()));
        builder.from_credentials(credentials).await.map_err(|error| self.problem(&error))
    }

    async fn begin(&self, account: &Account, wanted: &Wanted<'_>) -> Result<Order, Problem> {
        let names = [Identifier::Dns(wanted.name.clone())];
        let replaced = wanted.replaces.map(CertificateDer::from);
        let replaced = replaced.as_ref().and_then(|old| CertificateIdentifier::try_from(old).ok());
        let mut replaces = replaced;
        for _ in 0..NONCES {
            let mut new = NewOrder::new(&names);
            if let Some(profile) = &self.profile {
                new = new.profile(profile);
            }
            if let Some(old) = replaces.clone() {
                new = new.replaces(old);
            }
            match account.new_order(&new).await {
                Ok(order) => return Ok(order),
                Err(error) if is_nonce(&error) => {}
                // Of a CA that knows nothing of it, that has replaced it already, or never issued it: a new one, then.
                Err(_) if replaces.is_some() => replaces = None,
                Err(error) => return Err(self.problem(&error)),
            }
        }
        Err(self.no_nonce())
    }

    /// Has the CA look, and waits for what it says.
    async fn prove(&self, order: &mut Order, wanted: &Wanted<'_>, show: &dyn Show) -> Result<(), Problem> {
        again!(self, look(order))?;
        let Some((kind, challenge)) = self.challenge(order, wanted).await? else { return Ok(()) };
        let shown = show.show(challenge).await;
        shown.map_err(|said| Problem::new(Kind::Unreachable, said))?;
        again!(self, set_ready(order, &kind))?;
        let looked = again!(self, order.poll_ready(&PATIENCE));
        match looked {
            Ok(OrderStatus::Ready | OrderStatus::Valid | OrderStatus::Processing) => Ok(()),
            // The order says that it failed, and the authorization why.
            Ok(_) => {
                Err(self.why(order).await.unwrap_or_else(|| Problem::new(Kind::Refused, "the CA refuses the order")))
            }
            Err(problem) => Err(self.why(order).await.unwrap_or(problem)),
        }
    }

    /// What is to be shown, for the order's one name; `None`: it is proved already.
    async fn challenge(
        &self,
        order: &mut Order,
        wanted: &Wanted<'_>,
    ) -> Result<Option<(ChallengeType, Challenge)>, Problem> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.problem(&error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let offered =
                |kind: &&ChallengeKind| authorization.challenges.iter().any(|it| it.r#type == name_of(**kind));
            let chosen = wanted.kinds.iter().find(offered).map(|kind| (kind, name_of(*kind)));
            if let Some((kind, name)) = chosen
                && let Some(challenge) = authorization.challenge(name.clone())
            {
                let proof = challenge.key_authorization();
                let answer = match kind {
                    ChallengeKind::Http => proof.as_str().to_owned(),
                    ChallengeKind::Dns => proof.dns_value(),
                    ChallengeKind::TlsAlpn => {
                        proof.digest().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
                    }
                };
                return Ok(Some((name, Challenge { kind: *kind, token: challenge.token.clone(), answer })));
            }
            let said = format!("the CA offers no validation of {} that can be done here", wanted.name);
            return Err(Problem::new(Kind::Refused, said));
        }
        Ok(None)
    }

    /// What the CA found when it looked.
    async fn why(&self, order: &mut Order) -> Option<Problem> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            // What was known of it is from before the CA looked.
            let state = authorization.refresh().await.ok()?;
            let failed = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(error) = failed {
                return Some(Problem::new(Kind::Refused, words(error)));
            }
        }
        None
    }

    fn problem(&self, error: &Error) -> Problem {
        Problem::of(error, self.fetch.take_retry_after())
    }

    fn no_nonce(&self) -> Problem {
        Problem::new(Kind::Unreachable, "the CA refuses every nonce that it gives")
    }
}

/// Has the CA look.
async fn set_ready(order: &mut Order, kind: &ChallengeType) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if let Some(mut challenge) = authorization.challenge(kind.clone()) {
            challenge.set_ready().await?;
        }
    }
    Ok(())
}

fn name_of(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http => ChallengeType::Http01,
        ChallengeKind::TlsAlpn => ChallengeType::TlsAlpn01,
        ChallengeKind::Dns => ChallengeType::Dns01,
    }
}

/// Fetches every authorization of an order.
async fn look(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}
