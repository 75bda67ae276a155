//! The typed client of the API, as the commands use it: HTTP/1.1 over one connection per call.
//!
//! Over TLS, or in the clear where the gateway is on this machine.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use moorgate_contract::flow::FlowId;
use moorgate_tls::{Originator, TrustRoots};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::view::{
    Account, AddAccount, AddCredential, AddInvitation, AddToken, ChangeAccount, ChangeCredential, Credential,
    Diagnosis, EgressAddress, Explained, FlowView, NewCredential, NewInvitation, NewToken, Person, PolicyEdit,
    PolicyRules, Rotate, Scope, Status, Token, WhyFlow,
};

mod alarms;
mod deployment;
mod error;
mod follow;
mod routes;
mod tenants;
mod url;

pub use error::ClientError;
pub use follow::Follow;
use url::{Base, Path};

/// A gateway that does not take the connection in this time is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that an answer takes: an edit waits for the store, an explanation for the resolver.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes: what a text of the longest kind changes is several times as long.
const ANSWER_BYTES: usize = 8 * moorgate_control::MAX_TEXT;
/// The most pages of one listing: the most rows there can be, ten to a page.
const PAGES: usize = 10_000;

/// Speaks to one gateway with one token.
#[derive(Clone)]
pub struct Client {
    base: Base,
    token: String,
    /// Toward a gateway that speaks TLS.
    tls: Option<Originator>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base.to_string()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the gateway at `base_url` (`https://HOST:PORT` or `http://HOST:PORT`, with or without `/api/v1` behind it).
    ///
    /// # Errors
    /// [`ClientError::BadUrl`]; [`ClientError::BadToken`] when the token can't stand in a header; [`ClientError::NoTls`].
    pub fn new(base_url: &str, token: &str) -> Result<Self, ClientError> {
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::BadToken);
        }
        let base = Base::parse(base_url)?;
        let tls = base.is_tls().then(|| Originator::new(TrustRoots::System)).transpose().map_err(ClientError::NoTls)?;
        Ok(Self { base, token: token.to_owned(), tls })
    }

    /// Where it asks.
    pub fn url(&self) -> String {
        self.base.to_string()
    }

    /// Every account that the token may see.
    ///
    /// # Errors
    /// As for every call: [`ClientError`].
    pub async fn accounts(&self) -> Result<Vec<Account>, ClientError> {
        self.list(&Path::of(["accounts"])).await
    }

    /// One account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn account(&self, name: &str) -> Result<Account, ClientError> {
        self.get(&Path::of(["accounts", name])).await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_account(&self, name: &str) -> Result<Account, ClientError> {
        self.send(Method::POST, &Path::of(["accounts"]), &AddAccount { name: name.into() }).await
    }

    /// Changes an account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_account(&self, account: &str, change: &ChangeAccount) -> Result<Account, ClientError> {
        self.send(Method::PATCH, &Path::of(["accounts", account]), change).await
    }

    /// Removes an account with all that it has; its open flows are cut.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_account(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["accounts", name])).await
    }

    /// An account's credentials.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credentials(&self, account: &str) -> Result<Vec<Credential>, ClientError> {
        self.list(&Path::of(["accounts", account, "credentials"])).await
    }

    /// One credential of an account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credential(&self, account: &str, username: &str) -> Result<Credential, ClientError> {
        self.get(&Path::of(["accounts", account, "credentials", username])).await
    }

    /// Makes a credential. Its password is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_credential(&self, account: &str, add: &AddCredential) -> Result<NewCredential, ClientError> {
        self.send(Method::POST, &Path::of(["accounts", account, "credentials"]), add).await
    }

    /// Changes a credential, its passwords aside. `cut`: open flows that its new policy refuses are cut.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_credential(
        &self,
        account: &str,
        username: &str,
        change: &ChangeCredential,
        cut: bool,
    ) -> Result<Credential, ClientError> {
        let mut path = Path::of(["accounts", account, "credentials", username]);
        path.ask("cut", cut.then_some("true"));
        self.send(Method::PATCH, &path, change).await
    }

    /// Gives a credential a new password; the old one works for `overlap` more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate_credential(
        &self,
        account: &str,
        username: &str,
        overlap: Duration,
    ) -> Result<NewCredential, ClientError> {
        let path = Path::of(["accounts", account, "credentials", username, "rotate"]);
        self.send(Method::POST, &path, &Rotate { overlap_seconds: overlap.as_secs() }).await
    }

    /// Revokes a credential; its open flows are cut.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_credential(&self, account: &str, username: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["accounts", account, "credentials", username])).await
    }

    /// An account's policy.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn policy(&self, account: &str) -> Result<PolicyRules, ClientError> {
        self.get(&Path::of(["accounts", account, "policy"])).await
    }

    /// Replaces an account's policy as a whole. `dry_run`: only says what would change. `cut`: open flows that the
    /// new rules refuse are cut.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_policy(
        &self,
        account: &str,
        rules: &PolicyRules,
        dry_run: bool,
        cut: bool,
    ) -> Result<PolicyEdit, ClientError> {
        let mut path = Path::of(["accounts", account, "policy"]);
        path.ask("dry_run", dry_run.then_some("true"));
        path.ask("cut", cut.then_some("true"));
        self.send(Method::PUT, &path, rules).await
    }

    /// Who may use the console.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn people(&self) -> Result<Vec<Person>, ClientError> {
        self.get(&Path::of(["people"])).await
    }

    /// Removes somebody.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_person(&self, email: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["people", email])).await
    }

    /// Lets somebody in again who has lost what they came in with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset_person(&self, email: &str) -> Result<NewInvitation, ClientError> {
        self.send(Method::POST, &Path::of(["people", email, "reset"]), &()).await
    }

    /// Invites somebody to the console.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn invite(&self, add: &AddInvitation) -> Result<NewInvitation, ClientError> {
        self.send(Method::POST, &Path::of(["invitations"]), add).await
    }

    /// The API's tokens, without their secrets.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tokens(&self) -> Result<Vec<Token>, ClientError> {
        self.list(&Path::of(["tokens"])).await
    }

    /// Makes a token; without an account an operator's.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_token(&self, account: Option<&str>, scope: Scope) -> Result<NewToken, ClientError> {
        self.send(Method::POST, &Path::of(["tokens"]), &AddToken { account: account.map(Into::into), scope }).await
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["tokens", id])).await
    }

    /// The egress addresses.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn egress(&self) -> Result<Vec<EgressAddress>, ClientError> {
        self.get(&Path::of(["egress"])).await
    }

    /// What traffic of `account` to `host` and `port` would meet. `dns`: the name is resolved as traffic would.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(&self, account: &str, host: &str, port: u16, dns: bool) -> Result<Explained, ClientError> {
        self.explain_by(account, None, None, (host, port), dns).await
    }

    /// The same by one of its credentials, from an address.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain_by(
        &self,
        account: &str,
        credential: Option<&str>,
        from: Option<IpAddr>,
        (host, port): (&str, u16),
        dns: bool,
    ) -> Result<Explained, ClientError> {
        let mut path = Path::of(["explain"]);
        path.ask("account", Some(account));
        path.ask("credential", credential);
        path.ask("client", from.map(|from| from.to_string()).as_deref());
        path.ask("host", Some(host));
        path.ask("port", Some(&port.to_string()));
        path.ask("dns", Some(if dns { "true" } else { "false" }));
        self.get(&path).await
    }

    /// The latest flows, oldest first. At most `limit` (up to 1,000).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn flows(&self, account: Option<&str>, limit: usize) -> Result<Vec<FlowView>, ClientError> {
        self.get(&flows_path(account, limit)).await
    }

    /// One flow and why it ended as it did.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn flow(&self, id: FlowId) -> Result<WhyFlow, ClientError> {
        self.get(&Path::of(["flows", &id.to_string()])).await
    }

    /// The latest `limit` flows, oldest first, then each one as it ends.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn follow(&self, account: Option<&str>, limit: usize) -> Result<Follow, ClientError> {
        let mut path = flows_path(account, limit);
        path.ask("follow", Some("true"));
        let response = self.open(self.request(Method::GET, &path, Bytes::new())?).await?;
        Ok(Follow::new(response.into_body(), self.base.to_string()))
    }

    /// The gateway's state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get(&Path::of(["status"])).await
    }

    /// Every page of a listing, one after the other, until there are `most` rows.
    /// What is wrong with the gateway.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn doctor(&self) -> Result<Vec<Diagnosis>, ClientError> {
        let request = self.request(Method::GET, &Path::of(["doctor"]), Bytes::new())?;
        let answer = self.open_within(request, Duration::from_secs(60)).await?;
        self.parse(&self.collect(answer).await?)
    }

    async fn list_most<T: DeserializeOwned>(&self, path: &Path, most: usize) -> Result<Vec<T>, ClientError> {
        let (mut rows, mut path) = (Vec::new(), path.clone());
        for _ in 0..PAGES {
            let response = self.open(self.request(Method::GET, &path, Bytes::new())?).await?;
            let next = next_page(response.headers());
            let page: Vec<T> = self.parse(&self.collect(response).await?)?;
            rows.extend(page);
            match next {
                Some(next) if rows.len() < most => path = next,
                _ => {
                    rows.truncate(most);
                    return Ok(rows);
                }
            }
        }
        let source = format!("it has more than {PAGES} pages").into();
        Err(ClientError::CutShort { gateway: self.base.to_string(), source })
    }

    async fn list<T: DeserializeOwned>(&self, path: &Path) -> Result<Vec<T>, ClientError> {
        self.list_most(path, usize::MAX).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<T, ClientError> {
        self.read(self.request(Method::GET, path, Bytes::new())?).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &Path,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Unwritable)?;
        self.read(self.request(method, path, body.into())?).await
    }

    async fn delete(&self, path: &Path) -> Result<(), ClientError> {
        let response = self.open(self.request(Method::DELETE, path, Bytes::new())?).await?;
        self.collect(response).await.map(|_| ())
    }

    fn request(&self, method: Method, path: &Path, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path.to_string())
            .header(header::HOST, self.base.authority())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body)).map_err(ClientError::BadRequest)
    }

    /// Sends a request and reads the head of its answer; an answer that is a problem is an error.
    async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        self.open_within(request, ANSWER).await
    }

    /// As [`open`](Self::open), for what takes longer.
    async fn open_within(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { gateway: self.base.to_string(), source };
        let connect = timeout(CONNECT, TcpStream::connect((self.base.host(), self.base.port())));
        let stream =
            connect.await.map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?.map_err(unreachable)?;
        let mut sender = match &self.tls {
            None => self.speak(stream).await?,
            Some(tls) => {
                let secured = timeout(CONNECT, tls.connect(stream, self.base.host()));
                let secured = secured.await.map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?;
                let failed = |source| ClientError::Tls { gateway: self.base.to_string(), source };
                self.speak(secured.map_err(failed)?).await?
            }
        };
        let broken = |source| ClientError::Broken { gateway: self.base.to_string(), source };
        let answer = timeout(limit, sender.send_request(request));
        let response = answer.await.map_err(|_| self.too_slow())?.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.collect(response).await?;
        Err(ClientError::refused(status, &body))
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let broken = |source| ClientError::Broken { gateway: self.base.to_string(), source };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the connection, which ends with the answer's body.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn read<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T, ClientError> {
        let response = self.open(request).await?;
        self.parse(&self.collect(response).await?)
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|source| ClientError::NotOurs { gateway: self.base.to_string(), source })
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = timeout(ANSWER, Limited::new(response.into_body(), ANSWER_BYTES).collect());
        let body = body.await.map_err(|_| self.too_slow())?;
        let cut = |source| ClientError::CutShort { gateway: self.base.to_string(), source };
        Ok(body.map_err(cut)?.to_bytes())
    }

    fn too_slow(&self) -> ClientError {
        ClientError::TooSlow { gateway: self.base.to_string(), seconds: ANSWER.as_secs() }
    }
}

/// Where the next page of a listing is, as its `Link` says (RFC 8288).
fn next_page(headers: &HeaderMap) -> Option<Path> {
    let links = headers.get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
    let mut targets = links.filter_map(|link| link.strip_prefix('<')?.split_once(">; rel=\"next\""));
    targets.find_map(|(target, _)| Path::given(target))
}

fn flows_path(account: Option<&str>, limit: usize) -> Path {
    let mut path = Path::of(["flows"]);
    path.ask("account", account);
    path.ask("limit", Some(&limit.to_string()));
    path
}
