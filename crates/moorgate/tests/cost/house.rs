//! A gateway's data plane in this process, with clients and an origin that allocate nothing, so that whatever is
//! counted is the gateway's.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use moorgate_contract::{
    account::{Account, AccountId, Credential, CredentialId, Pepper, Secret, SecretId},
    guard::Guard,
    limits::Limits,
    listener::Listener,
    policy::Policy,
    route::{Mode, Route, RouteId},
    snapshot::{Site, Snapshot},
    usage::ReportSink,
};
use moorgate_keys::LocalCa;
use moorgate_net::{connect::Connector, listener, presence::PresenceWatch, resolver::Resolver, workers::Workers};
use moorgate_proxy::{
    gateway::{Gateway, Terminators},
    serve::serve,
};
use moorgate_tls::{CertSource, LocalIssuer, Terminator};

pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "a-password-of-some-length";
/// What the origin answers to a connection.
pub(crate) const ANSWER: [u8; 64] = [b'x'; 64];
/// What it answers to a request.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";

/// The running gateway, and where everything is.
pub(crate) struct House {
    pub(crate) passthrough: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) connect: SocketAddr,
    pub(crate) socks: SocketAddr,
    pub(crate) origin: SocketAddr,
    gateway: Arc<Gateway>,
    workers: Option<Workers>,
}

impl House {
    /// One worker, one account, two routes.
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, Arc::new(drop))
    }

    /// The same with edited rules, and its reports.
    pub(crate) fn with(edit: impl FnOnce(&mut Snapshot), reports: ReportSink) -> Self {
        let origin = origin();
        let site = Site {
            gateway: "moorgate-test".into(),
            guard: Guard { allowed: Guard::loopback_profile(), ..Guard::default() },
            loopback_profile: true,
            ..Site::default()
        };
        let mut snapshot = Snapshot::empty(Arc::new(site), Pepper::new([7; 32]));
        fill(&mut snapshot, origin);
        edit(&mut snapshot);
        let limits = Limits::default();
        let presence = PresenceWatch::start(Vec::new()).unwrap();
        // No name is resolved here.
        let nowhere = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let resolver = Resolver::new(&[], nowhere.handle().clone()).unwrap();
        let connector = Connector::new(resolver, presence, &limits);
        let gateway = Arc::new(Gateway::new(Arc::new(snapshot), connector, limits, terminators(), 1, reports));
        let bound = [Listener::InboundTls, Listener::InboundHttp, Listener::OutboundHttp, Listener::OutboundSocks]
            .map(|listener| (listener, listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap().remove(0)));
        let [passthrough, http, connect, socks] = bound.each_ref().map(|(_, socket)| socket.local_addr().unwrap());
        let mut bound = Some(bound.into());
        let workers = Workers::start(1, |worker| serve(gateway.clone(), worker, bound.take().unwrap())).unwrap();
        Self { passthrough, http, connect, socks, origin, gateway, workers: Some(workers) }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.gateway.drain.cancel();
        self.gateway.connections.close();
        self.gateway.cut_all();
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
    }
}

fn fill(snapshot: &mut Snapshot, origin: SocketAddr) {
    let account = AccountId(1);
    snapshot.put_account(Account {
        id: account,
        name: "acme".into(),
        policy: Policy::default(),
        policy_cuts: 0,
        egress: Default::default(),
        load: Default::default(),
        quota: None,
    });
    let hash = snapshot.hash(USER, PASSWORD.as_bytes());
    snapshot.put_credential(Credential {
        id: CredentialId(1),
        account,
        username: USER.into(),
        secrets: vec![Secret { id: SecretId(1), hash, until: None }],
        expires: None,
        clients: Vec::new(),
        policy: None,
        policy_cuts: 0,
    });
    for (id, domain, mode, url) in [
        (1, "passed.test", Mode::Passthrough, format!("tls://{origin}")),
        (2, "read.test", Mode::Terminate, format!("http://{origin}")),
    ] {
        let settings = format!(r#"{{"origins":[{{"url":"{url}"}}],"actions":{{"on_http":"forward"}}}}"#);
        let settings = serde_json::from_str(&settings).unwrap();
        snapshot.put_route(Route::new(RouteId(id), account, domain.parse().unwrap(), mode, settings));
    }
}

fn terminators() -> Terminators {
    let ca = Arc::new(LocalCa::create("test").unwrap());
    let source = CertSource::new(&ca.issue(&["localhost".parse().unwrap()]).unwrap()).unwrap();
    let terminator = || Terminator::new(source.clone(), &[]).unwrap();
    Terminators { https: terminator(), socks_tls: terminator(), echo: terminator(), local: LocalIssuer::new(ca) }
}

/// Serves one connection at a time, or holds them open. What it does is said by the first byte that is no TLS: a
/// `G`ET is answered again and again, `e` is echoed while it lasts, `u` takes all there is, anything else is answered
/// once and ended.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut held = Vec::with_capacity(4096);
        let mut buffer = vec![0; 1024 * 1024];
        for client in listener.incoming() {
            held.extend(serve_one(client.unwrap(), &mut buffer));
        }
    });
    address
}

fn serve_one(mut client: TcpStream, buffer: &mut [u8]) -> Option<TcpStream> {
    client.set_nodelay(true).unwrap();
    let mut read = client.read(buffer).unwrap_or(0);
    if buffer[0] == 22 {
        // A hello, whole: the client's one write.
        let hello = 5 + usize::from(u16::from_be_bytes([buffer[3], buffer[4]]));
        if read == hello {
            read += client.read(&mut buffer[hello..]).unwrap_or(0);
        }
        buffer.copy_within(hello..read, 0);
        read -= hello;
    }
    match buffer[..read] {
        [b'G', ..] => loop {
            if client.write_all(RESPONSE).is_err() || client.read(buffer).unwrap_or(0) == 0 {
                return None;
            }
        },
        [b'e', ..] => {
            let _ = client.write_all(&buffer[..read]);
            Some(client)
        }
        [b'u', ..] => {
            while client.read(buffer).unwrap_or(0) > 0 {}
            let _ = client.write_all(&ANSWER);
            None
        }
        _ => {
            let _ = client.write_all(&ANSWER);
            let _ = client.shutdown(std::net::Shutdown::Write);
            let _ = client.read(buffer);
            None
        }
    }
}

/// Ways in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Passthrough,
    Connect,
    Socks,
}

impl Way {
    /// What a client says before the tunnel is open, each with the length of the answer that it waits for.
    pub(crate) fn script(self, user: &str, password: &str, target: SocketAddr) -> Vec<(Vec<u8>, usize)> {
        match self {
            Self::Passthrough => vec![(hello("passed.test"), 0)],
            Self::Connect => {
                use base64::Engine as _;
                let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                let head = format!(
                    "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {basic}\r\n\r\n"
                );
                vec![(head.into(), "HTTP/1.1 200 Connection established\r\n\r\n".len())]
            }
            Self::Socks => {
                let SocketAddr::V4(target) = target else { panic!("an IPv4 target") };
                let field = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
                let request = [&[5, 1, 0, 1], &target.ip().octets()[..], &target.port().to_be_bytes()].concat();
                vec![(vec![5, 1, 2], 2), ([vec![1], field(user), field(password)].concat(), 2), (request, 10)]
            }
        }
    }

    /// Opens a tunnel.
    pub(crate) fn open(self, at: SocketAddr, script: &[(Vec<u8>, usize)]) -> TcpStream {
        let mut client = TcpStream::connect(at).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = [0; 64];
        for (said, length) in script {
            client.write_all(said).unwrap();
            client.read_exact(&mut answer[..*length]).unwrap();
        }
        client
    }
}

/// A ClientHello with a server name, in one record (RFC 8446 §4.1.2).
fn hello(name: &str) -> Vec<u8> {
    let sized = |bytes: Vec<u8>| [(bytes.len() as u16).to_be_bytes().to_vec(), bytes].concat();
    let name = [vec![0], sized(name.into())].concat();
    let extensions = [vec![0, 0], sized(sized(name)), vec![0, 43, 0, 3, 2, 3, 4]].concat();
    let body = [vec![3, 3], vec![9; 32], vec![0], vec![0, 2, 0x13, 1], vec![1, 0], sized(extensions)].concat();
    let message = [vec![1, 0], sized(body)].concat();
    [vec![22, 3, 1], sized(message)].concat()
}

/// Tells the origin what to do and reads its answer to the end.
pub(crate) fn ask_once(mut client: TcpStream) {
    let mut answer = [0; 65];
    client.write_all(b"c").unwrap();
    let mut read = 0;
    loop {
        match client.read(&mut answer[read..]).unwrap() {
            0 => break,
            more => read += more,
        }
    }
    assert_eq!(answer[..read], ANSWER);
}
