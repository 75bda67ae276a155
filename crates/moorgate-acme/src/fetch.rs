//! HTTPS toward a CA: each address that is dialled was judged as a destination of traffic is.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use moorgate_contract::{
    account::{Account, AccountId, Load},
    decide::{Destination, Judged, Plan},
    policy::Policy,
    snapshot::Site,
};
use moorgate_net::connect::Connector;
use moorgate_tls::Originator;
use moorgate_wire::host::{Asked, Host};
use tokio::time::timeout;

/// How long a connection, and then an answer, may take.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// The most bytes of an answer: a chain has some thousands.
const ANSWER_BYTES: usize = 1 << 20;
/// The longest time that a CA is left alone because it says so, in seconds: thirty days.
const MOST_RETRY_AFTER: u32 = 30 * 86_400;
/// The port of `https://`.
const HTTPS: u16 = 443;

/// What kept an answer from being had, in words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Asks over HTTPS. Cheap to clone.
#[derive(Clone)]
pub struct Fetch {
    connector: Connector,
    /// What the gateway's file says, as it is now: the guard's part of it changes.
    site: Arc<dyn Fn() -> Arc<Site> + Send + Sync>,
    originator: Originator,
    /// The gateway itself.
    account: Arc<Account>,
    /// When whoever refused last wants to be asked again.
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl Fetch {
    /// `originator` trusts whom it is to trust; `site` says what the guard refuses.
    pub fn new(connector: Connector, originator: Originator, site: Arc<dyn Fn() -> Arc<Site> + Send + Sync>) -> Self {
        let account = Account {
            id: AccountId(0),
            name: "gateway".into(),
            policy: Policy::new(Vec::new()),
            policy_cuts: 0,
            egress: Default::default(),
            load: Load::default(),
            quota: None,
        };
        let originator = originator.with_alpn(&[b"http/1.1"]);
        Self { connector, site, originator, account: Arc::new(account), retry_after: Arc::default() }
    }

    /// When whoever refused last wants to be asked again; forgotten by this.
    pub(crate) fn take_retry_after(&self) -> Option<SystemTime> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks. The answer is whole, whatever its status.
    ///
    /// # Errors
    /// What kept it from being had, in words.
    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Cause> {
        let (host, port) = target(request.uri())?;
        let text = if port == HTTPS { host.to_string() } else { format!("{host}:{port}") };
        let destination = match &host {
            Host::Name(name) => Destination::Name(name.clone()),
            Host::V4(address) => Destination::Address((*address).into()),
            Host::V6(address) => Destination::Address((*address).into()),
        };
        let asked = Asked::from_authority(&text, Some(port)).map_err(|error| Cause::from(error.to_string()))?;
        let account = self.account.clone();
        let plan = Plan { account, asked, destination, port, judged: Judged::AsOrigin, narrower: None };
        let connected = self.connector.connect(&(self.site)(), &plan, CONNECT).await;
        let stream = connected.map_err(|error| Cause::from(error.failure.to_string()))?.stream;
        let name = host.to_string();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let secured = timeout(CONNECT, self.originator.connect(stream, name)).await;
        let stream = secured.map_err(|_| format!("{name} did not finish the TLS handshake in time"))??;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer.
        let connection = tokio::spawn(connection);
        let answer = timeout(ANSWER, async {
            let (parts, body) = sender.send_request(onward(request, &text)?).await?.into_parts();
            Ok::<_, Cause>((parts, Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes()))
        })
        .await;
        connection.abort();
        let (mut parts, body) = answer.map_err(|_| format!("{name} did not answer in time"))??;
        bound_retry_after(&mut parts.headers);
        if !parts.status.is_success() {
            let after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(after);
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = after;
        }
        Ok(Response::from_parts(parts, body))
    }
}

/// In the form in which a server is asked for its own.
fn onward(request: Request<Full<Bytes>>, authority: &str) -> Result<Request<Full<Bytes>>, Cause> {
    let (mut parts, body) = request.into_parts();
    parts.uri = parts.uri.path_and_query().map_or_else(|| Ok(Uri::from_static("/")), |path| path.as_str().parse())?;
    parts.headers.insert(header::HOST, authority.parse()?);
    // One name for all that we do.
    parts.headers.insert(header::USER_AGENT, concat!("moorgate/", env!("CARGO_PKG_VERSION")).parse()?);
    Ok(Request::from_parts(parts, body))
}

fn target(uri: &Uri) -> Result<(Host, u16), Cause> {
    if uri.scheme_str() != Some("https") {
        return Err(format!("{uri} is not https").into());
    }
    let host = uri.host().ok_or_else(|| format!("{uri} names no host"))?;
    let host = Host::parse(host).map_err(|error| format!("{host}: {error}"))?;
    Ok((host, uri.port_u16().unwrap_or(HTTPS)))
}

/// Whoever reads it adds it to the time that it is.
fn bound_retry_after(headers: &mut HeaderMap) {
    let most = HeaderValue::from(MOST_RETRY_AFTER);
    let is_number = |value: &HeaderValue| value.as_bytes().trim_ascii().iter().all(u8::is_ascii_digit);
    let is_bounded = |value: &HeaderValue| {
        let seconds = value.to_str().ok().and_then(|value| value.trim().parse::<u32>().ok());
        seconds.is_some_and(|seconds| seconds <= MOST_RETRY_AFTER)
    };
    if headers.get(header::RETRY_AFTER).is_some_and(|value| is_number(value) && !is_bounded(value)) {
        headers.insert(header::RETRY_AFTER, most);
    }
}

/// In seconds; a date is as good as nothing said (RFC 9110 §10.2.3 allows both, and CAs write seconds).
fn after(value: &str) -> Option<SystemTime> {
    value.trim().parse::<u32>().ok().map(|seconds| SystemTime::now() + Duration::from_secs(seconds.into()))
}

impl HttpClient for Fetch {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let fetch = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // It is in memory already.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let answer = fetch.ask(Request::from_parts(parts, Full::new(body))).await.map_err(Error::Other)?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_all_patience_is_cut_short() {
        let bounded = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            bound_retry_after(&mut headers);
            headers.get(header::RETRY_AFTER).unwrap().to_str().unwrap().to_owned()
        };
        for kept in ["0", "3600", "2592000", "Fri, 31 Dec 1999 23:59:59 GMT", "soon"] {
            assert_eq!(bounded(kept), kept);
        }
        for cut in ["2592001", "4294967296", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(bounded(cut), "2592000");
        }
    }
}
