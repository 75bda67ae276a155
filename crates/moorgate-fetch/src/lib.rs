//! HTTP of the gateway's own, toward whom somebody named (a CA, a receiver of alarms): each address that is dialled was judged
//! as a destination of traffic is. Follows no redirect, and keeps nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use moorgate_contract::{
    account::{Account, AccountId, Load},
    decide::{Destination, Judged, Plan},
    policy::Policy,
    snapshot::Site,
};
use moorgate_net::{connect::Connector, runtime::TcpStream};
use moorgate_tls::Originator;
use moorgate_wire::host::{Asked, Host};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

/// How long a connection, and then an answer, may take.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// The ports of `https://` and `http://`.
const HTTPS: u16 = 443;
const HTTP: u16 = 80;

/// Why nothing could be had, in words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What gives the gateway's file's part of what is served, as it is now: the guard's part of it changes.
pub type SiteNow = Arc<dyn Fn() -> Arc<Site> + Send + Sync>;

/// Asks over HTTPS; in the clear only what listens on a loopback address. Cheap to clone.
#[derive(Clone)]
pub struct Fetch {
    connector: Connector,
    site: SiteNow,
    originator: Originator,
}

/// Somewhere to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who.
    pub host: Host,
    /// Where.
    pub port: u16,
    /// Whether in TLS.
    pub tls: bool,
}

impl Place {
    /// Of a URL.
    ///
    /// # Errors
    /// In words: it is neither `https://` nor, on a loopback address, `http://`; or it names no host.
    pub fn of(uri: &Uri) -> Result<Self, Cause> {
        let host = uri.host().ok_or_else(|| format!("{uri} names no host"))?;
        let host = Host::parse(host).map_err(|error| format!("{host}: {error}"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(&host) => false,
            _ => return Err(format!("{uri} is not https").into()),
        };
        let port = uri.port_u16().unwrap_or(if tls { HTTPS } else { HTTP });
        Ok(Self { host, port, tls })
    }

    /// As a `Host` header says it.
    fn authority(&self) -> String {
        let usual = if self.tls { HTTPS } else { HTTP };
        let host = match &self.host {
            Host::V6(address) => format!("[{address}]"),
            host => host.to_string(),
        };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// As a certificate says it.
    pub fn name(&self) -> String {
        self.host.to_string()
    }
}

/// Whether this is this machine by its own name, before anybody is asked.
fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Name(name) => name.as_str() == "localhost",
        Host::V4(address) => address.is_loopback(),
        Host::V6(address) => address.is_loopback(),
    }
}

/// The gateway itself, where it asks on nobody's behalf.
pub fn gateway() -> Arc<Account> {
    Arc::new(Account {
        id: AccountId(0),
        name: "gateway".into(),
        policy: Policy::new(Vec::new()),
        policy_cuts: 0,
        egress: Default::default(),
        load: Load::default(),
        quota: None,
    })
}

/// A connection to a place that was judged.
///
/// # Errors
/// Why not, in words: a guard's refusal names its reason.
pub async fn dial(
    connector: &Connector,
    site: &Site,
    account: Arc<Account>,
    place: &Place,
) -> Result<(TcpStream, SocketAddr), Cause> {
    let destination = match &place.host {
        Host::Name(name) => Destination::Name(name.clone()),
        Host::V4(address) => Destination::Address((*address).into()),
        Host::V6(address) => Destination::Address((*address).into()),
    };
    let port = place.port;
    let asked =
        Asked::from_authority(&place.authority(), Some(port)).map_err(|error| Cause::from(error.to_string()))?;
    let plan = Plan { account, asked, destination, port, judged: Judged::AsOrigin, narrower: None };
    let connected = connector.connect(site, &plan, CONNECT).await;
    let connected = connected.map_err(|error| Cause::from(error.failure.to_string()))?;
    Ok((connected.stream, connected.address))
}

impl Fetch {
    /// `originator` trusts whom it is to trust; `site` says what the guard refuses.
    pub fn new(connector: Connector, originator: Originator, site: SiteNow) -> Self {
        Self { connector, site, originator: originator.with_alpn(&[b"http/1.1"]) }
    }

    /// Asks on behalf of `account`, from its egress addresses. The answer is whole, up to `most` bytes, whatever its status;
    /// `None`: its body is of no interest, and is not read.
    ///
    /// # Errors
    /// What kept it from being had, in words.
    pub async fn ask(
        &self,
        account: Arc<Account>,
        request: Request<Full<Bytes>>,
        most: Option<usize>,
    ) -> Result<Response<Bytes>, Cause> {
        let place = Place::of(request.uri())?;
        let (stream, address) = dial(&self.connector, &(self.site)(), account, &place).await?;
        if !place.tls {
            // What a resolver says of localhost is not ours to say.
            if !address.ip().is_loopback() {
                return Err(format!("{} is not on this machine: use https", place.host).into());
            }
            return exchange(stream, &place, request, most).await;
        }
        let name = place.name();
        let secured = timeout(CONNECT, self.originator.connect(stream, &name)).await;
        let stream = secured.map_err(|_| format!("{name} did not finish the TLS handshake in time"))??;
        exchange(stream, &place, request, most).await
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    place: &Place,
    request: Request<Full<Bytes>>,
    most: Option<usize>,
) -> Result<Response<Bytes>, Cause> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer.
    let connection = tokio::spawn(connection);
    let answer = timeout(ANSWER, async {
        let (parts, body) = sender.send_request(onward(request, &place.authority())?).await?.into_parts();
        let body = match most {
            Some(most) => Limited::new(body, most).collect().await?.to_bytes(),
            None => Bytes::new(),
        };
        Ok::<_, Cause>(Response::from_parts(parts, body))
    })
    .await;
    connection.abort();
    answer.map_err(|_| format!("{} did not answer in time", place.name()))?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_clear_only_this_machine_is_asked() {
        let place =
            |url: &str| Place::of(&url.parse().unwrap()).map(|place| (place.authority(), place.name(), place.tls));
        let is = |authority: &str, name: &str, tls| Some((authority.to_owned(), name.to_owned(), tls));
        for (url, expected) in [
            ("https://a.example/x?y", is("a.example", "a.example", true)),
            ("https://a.example:8443/", is("a.example:8443", "a.example", true)),
            ("https://[2001:db8::1]/", is("[2001:db8::1]", "2001:db8::1", true)),
            ("http://127.0.0.1:9/", is("127.0.0.1:9", "127.0.0.1", false)),
            ("http://[::1]/", is("[::1]", "::1", false)),
            ("http://localhost:1/", is("localhost:1", "localhost", false)),
            ("http://a.example/", None),
            ("http://10.0.0.1/", None),
            ("ftp://a.example/", None),
            ("/only/a/path", None),
        ] {
            assert_eq!(place(url).ok(), expected, "{url}");
        }
    }
}
