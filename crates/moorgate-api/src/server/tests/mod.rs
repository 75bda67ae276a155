//! Against a real control plane, through real sockets.

mod access;
mod conditions;
mod keys;
mod limits;
mod pages;
mod resources;
mod routes;
mod tenants;

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use moorgate_contract::{
    egress::Presence,
    failure::{Code, Failure},
    flow::{EndedFlow, FlowId, FlowSink, OpenFlow},
    listener::Listener,
    outcome::Outcome,
    route::{Mode, OriginSpec},
    snapshot::{Site, Snapshot},
    time::Timestamp,
    usage::{Tally, Usage, Whose},
};
use moorgate_control::{
    Control, FLOWS_KEPT, Itself, KEEP_USAGE, Plane, PortsInUse, RouteChange, Settings, ZoneSettings,
};
use moorgate_keys::{LocalCa, MasterKey, MasterKeys};
use moorgate_wire::name::DomainName;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::{ApiState, Door, listen::Limits, listen::serve_within, router};
use crate::client::Client;

/// A data plane that serves nobody and knows one name.
#[derive(Default)]
struct Double {
    published: Mutex<Vec<u64>>,
}

impl Plane for Double {
    fn publish(&self, snapshot: Arc<Snapshot>) {
        self.published.lock().unwrap().push(snapshot.version);
    }

    fn presence(&self) -> Arc<Presence> {
        Arc::new(Presence { local: vec![], absent: vec![ip("203.0.113.11")] })
    }

    fn ports_in_use(&self) -> Vec<PortsInUse> {
        Vec::new()
    }

    fn ports(&self) -> Option<usize> {
        None
    }

    fn clock(&self) -> Duration {
        Duration::ZERO
    }

    fn places(&self) -> usize {
        1_000
    }

    fn resolve(&self, name: DomainName) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Failure>> + Send + '_>> {
        Box::pin(async move {
            match name.as_str() {
                "four.example" => Ok(vec![ip("8.8.8.8")]),
                _ => Err(Failure::new(Code::NameNotResolved, format_args!("{name} does not exist"))),
            }
        })
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A gateway's API on a port of its own, with accounts `acme` and `other` beside `default`.
struct House {
    _dir: TempDir,
    control: Control,
    usage: Arc<Mutex<Usage>>,
    address: SocketAddr,
    operator: String,
    ready: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl House {
    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        Self::made(limits, None).await
    }

    /// One with a zone, whose resolvers say nothing.
    async fn with_zone() -> Self {
        let zone = ZoneSettings {
            name: "edge.example.net".parse().unwrap(),
            addresses: vec![ip("203.0.113.10")],
            resolvers: Vec::new(),
        };
        Self::made(Limits::default(), Some(zone)).await
    }

    async fn made(limits: Limits, zone: Option<ZoneSettings>) -> Self {
        let (dir, usage) = (TempDir::new().unwrap(), Arc::new(Mutex::new(Usage::default())));
        let (control, start) = Control::open(Settings {
            zone,
            alarms: None,
            ca: None,
            data_dir: dir.path().to_owned(),
            store_url: "sqlite".into(),
            master_keys: MasterKeys { current: MasterKey::parse(&"07".repeat(32)).unwrap(), previous: None },
            gateway: Itself { name: "gateway".into(), ..Itself::default() },
            local_ca: Arc::new(LocalCa::create("Test CA").unwrap()),
            usage: usage.clone(),
            keep_flows: FLOWS_KEPT,
            keep_usage: KEEP_USAGE,
            site: Arc::new(Site::default()),
            egress: vec![ip("203.0.113.10"), ip("203.0.113.11")],
            make_default_account: true,
            plane: Arc::new(Double::default()),
        })
        .await
        .unwrap();
        for account in ["acme", "other"] {
            control.add_account(account).await.unwrap();
        }
        let ready = Arc::new(AtomicBool::new(true));
        let state = ApiState {
            control: control.clone(),
            metrics: Arc::new(crate::metrics::tests::metrics()),
            ready: {
                let ready = ready.clone();
                Arc::new(move || if ready.load(Relaxed) { Ok(()) } else { Err("draining".into()) })
            },
            version: "0.0.0-test",
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served =
            tokio::spawn(serve_within(listener, Door::Loopback, router(state, axum::Router::new()), limits, async {
                let _ = stopped.await;
            }));
        let operator = start.operator_token.unwrap().token.reveal().to_owned();
        Self { _dir: dir, control, usage, address, operator, ready, stop: Some(stop), served }
    }

    fn client(&self) -> Client {
        self.client_with(&self.operator)
    }

    fn client_with(&self, token: &str) -> Client {
        Client::new(&format!("http://{}", self.address), token).unwrap()
    }

    /// The status and the rest of the answer to one request on a connection of its own.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}", self.address);
        let answer = self.raw(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
        (status, answer)
    }

    async fn ask_as(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        self.ask(method, path, &headers, body).await
    }

    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // What is refused early may be reset before all of it was sent.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A route with a certificate.
    async fn add_route(&self, account: &str, domain: &str) {
        let origins = Some(vec![OriginSpec { url: "http://four.example:3000".parse().unwrap(), weight: 1 }]);
        let change = RouteChange { origins, ..RouteChange::default() };
        self.control.add_route(Some(account), domain, Mode::Terminate, change).await.unwrap();
        let add = certificate_for(domain);
        let (chain, key) = (add.chain.as_bytes(), add.key.as_bytes());
        self.control.add_certificate(Some(account), domain, chain, key).await.unwrap();
    }

    /// Has an account move bytes to a host.
    fn moves(&self, account: &str, host: &str, up: u64) {
        let account = self.control.snapshot().account(account).map(|account| account.id);
        let (whose, at) = (Whose { account, ..Whose::default() }, std::time::SystemTime::now().into());
        let tally = Tally { whose, host: Some(host.into()), egress: None, client: None, at, up, down: 0 };
        self.usage.lock().unwrap().tally(&tally);
    }

    async fn record(&self, number: u64, account: Option<&str>, target: &str, outcome: Outcome) -> FlowId {
        let flow = flow(number, account, target, outcome);
        let id = flow.id;
        self.control.record_flows(vec![flow]).await;
        id
    }
}

/// A chain and its key (PEM) for a domain, signed by itself.
fn certificate_for(domain: &str) -> crate::view::AddCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new([domain.to_owned()]).unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    crate::view::AddCertificate { chain, key: key.serialize_pem(), account: None }
}

fn flow(number: u64, account: Option<&str>, target: &str, outcome: Outcome) -> EndedFlow {
    let (send, receive) = std::sync::mpsc::channel();
    let sink: FlowSink = Arc::new(move |flow| send.send(flow).unwrap());
    let started = Timestamp::from(std::time::SystemTime::now());
    let client = "127.0.0.1:1".parse().unwrap();
    let id = FlowId::new(started, number);
    let mut open = OpenFlow::open(id, started, Instant::now(), Listener::OutboundHttp, client, sink);
    open.record.account = account.map(Arc::from);
    open.record.target = Some(target.into());
    open.end(outcome);
    receive.recv().unwrap()
}
