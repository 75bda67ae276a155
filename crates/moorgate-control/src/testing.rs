//! A data plane that writes down what it was given, and a gateway in a directory of its own.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moorgate_contract::{
    account::Principal,
    egress::Presence,
    failure::{Code, Failure},
    flow::{EndedFlow, FlowId, FlowSink, OpenFlow},
    listener::Listener,
    outcome::Outcome,
    snapshot::{Site, Snapshot},
    time::Timestamp,
    usage::Usage,
};
use moorgate_keys::{LocalCa, MasterKey, MasterKeys};
use moorgate_wire::name::DomainName;
use tempfile::TempDir;

use crate::{
    Control, Itself, NewCredential, Plane, PortsInUse, Result, RouteChange, Settings, Start, ZoneSettings, control::now,
};

#[derive(Default)]
pub(crate) struct Double {
    pub(crate) published: Mutex<Vec<Arc<Snapshot>>>,
    pub(crate) absent: Mutex<Vec<IpAddr>>,
    pub(crate) clock: Mutex<Duration>,
    pub(crate) ports: Mutex<Vec<PortsInUse>>,
}

impl Double {
    pub(crate) fn served(&self) -> Arc<Snapshot> {
        self.published.lock().unwrap().last().unwrap().clone()
    }

    /// Whom traffic would take it for, `after` from now.
    pub(crate) fn knows(&self, credential: &NewCredential, after: Duration) -> Option<Principal> {
        let presented = (credential.username.as_str(), credential.password.reveal().as_bytes());
        self.served().authenticate(Some(presented), now().after(after)).ok()
    }
}

impl Plane for Double {
    fn publish(&self, snapshot: Arc<Snapshot>) {
        self.published.lock().unwrap().push(snapshot);
    }

    fn presence(&self) -> Arc<Presence> {
        Arc::new(Presence { local: vec![], absent: self.absent.lock().unwrap().clone() })
    }

    fn ports_in_use(&self) -> Vec<PortsInUse> {
        self.ports.lock().unwrap().clone()
    }

    fn ports(&self) -> Option<usize> {
        Some(100)
    }

    fn clock(&self) -> Duration {
        *self.clock.lock().unwrap()
    }

    fn places(&self) -> usize {
        1_000
    }

    fn resolve(
        &self,
        name: DomainName,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<Vec<IpAddr>, Failure>> + Send + '_>> {
        Box::pin(async move {
            match name.as_str() {
                "four.example" => Ok(vec![ip("8.8.8.8")]),
                "both.example" => Ok(vec![ip("10.0.0.1"), ip("2a00::1"), ip("8.8.8.8")]),
                "inner.example" => Ok(vec![ip("10.0.0.1")]),
                _ => Err(Failure::new(Code::NameNotResolved, format_args!("{name} does not exist"))),
            }
        })
    }
}

/// A data directory, and what a gateway on it is configured with.
pub(crate) struct House {
    pub(crate) dir: TempDir,
    pub(crate) name: String,
    /// Where its one listener is bound; empty: it has none.
    pub(crate) listener: Vec<SocketAddr>,
    pub(crate) plane: Arc<Double>,
    pub(crate) usage: Arc<Mutex<Usage>>,
    pub(crate) egress: Vec<IpAddr>,
    /// The master keys, the one in use first.
    pub(crate) keys: Vec<u8>,
    pub(crate) store_url: String,
    pub(crate) default: bool,
    pub(crate) site: Site,
    pub(crate) zone: Option<ZoneSettings>,
}

/// The PostgreSQL server on which the stores of this run are made; none: they are SQLite's.
pub(crate) const SERVER: &str = "TEST_STORE_SERVER";

impl House {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store_url = std::env::var(SERVER).map_or_else(|_| "sqlite".to_owned(), |server| new_database(&server));
        Self {
            dir,
            name: "gateway".to_owned(),
            listener: vec![],
            plane: Arc::default(),
            usage: Arc::default(),
            egress: vec![],
            keys: vec![1],
            store_url,
            default: true,
            site: Site::default(),
            zone: None,
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) async fn open(&self) -> Result<(Control, Start)> {
        self.open_at(self.dir.path()).await
    }

    pub(crate) async fn open_at(&self, data_dir: &Path) -> Result<(Control, Start)> {
        Control::open(Settings {
            zone: self.zone.clone(),
            ca: None,
            alarms: None,
            data_dir: data_dir.to_owned(),
            store_url: self.store_url.clone(),
            master_keys: master_keys(&self.keys),
            gateway: Itself {
                name: self.name.clone(),
                addresses: [("outbound_http".to_owned(), self.listener.clone())].into(),
                ..Itself::default()
            },
            local_ca: Arc::new(LocalCa::create("Test CA").unwrap()),
            site: Arc::new(self.site.clone()),
            egress: self.egress.clone(),
            make_default_account: self.default,
            usage: self.usage.clone(),
            keep_flows: crate::FLOWS_KEPT,
            keep_usage: crate::KEEP_USAGE,
            plane: self.plane.clone(),
        })
        .await
    }

    /// Whether the store is a file.
    pub(crate) fn is_file(&self) -> bool {
        self.store_url == "sqlite"
    }

    /// What a gateway finds that is started when kill -9 has ended this one now. With a store that is not in a file it
    /// finds that alone.
    pub(crate) fn after_kill(&self) -> Self {
        let dir = if self.is_file() { self.image() } else { TempDir::new().unwrap() };
        let (store_url, keys) = (self.store_url.clone(), self.keys.clone());
        Self { dir, keys, store_url, default: self.default, ..Self::new() }
    }

    /// Everything as kill -9 would leave it now.
    pub(crate) fn image(&self) -> TempDir {
        // A file that was given its name meanwhile was listed by another: it is begun anew.
        let image = std::iter::repeat_with(|| self.try_image()).take(100).find_map(Result::ok);
        image.expect("the files stand still at some time")
    }

    fn try_image(&self) -> std::io::Result<TempDir> {
        let image = TempDir::new()?;
        for file in std::fs::read_dir(self.dir.path())? {
            let file = file?;
            std::fs::copy(file.path(), image.path().join(file.file_name()))?;
        }
        Ok(image)
    }

    /// Waits until the sealed copy is there.
    pub(crate) async fn sealed(&self) {
        until(|| self.path("snapshot.sealed").exists()).await;
    }
}

fn new_database(server: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("store_{}", COUNT.fetch_add(1, Relaxed));
    test_postgres::sql(&format!("{server}/postgres"), &format!("CREATE DATABASE {name} TEMPLATE template0"));
    format!("{server}/{name}")
}

/// The first is in use.
pub(crate) fn master_keys(keys: &[u8]) -> MasterKeys {
    MasterKeys { current: master_key(keys[0]), previous: keys.get(1).map(|key| master_key(*key)) }
}

pub(crate) fn master_key(key: u8) -> MasterKey {
    MasterKey::parse(&format!("{key:02x}").repeat(32)).unwrap()
}

/// A certificate for `names` of a CA of its own, and its key.
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) key_der: Vec<u8>,
}

impl Made {
    pub(crate) fn of(names: &[&str]) -> Self {
        Self::by(&LocalCa::create("Test CA").unwrap(), names)
    }

    pub(crate) fn by(ca: &LocalCa, names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let issued = ca.issue(&names).unwrap();
        let pem =
            |label, der: &[u8]| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
        let key_der = issued.key.secret_der().to_vec();
        Self { chain: pem("CERTIFICATE", &issued.chain[0]), key: pem("PRIVATE KEY", &key_der), key_der }
    }
}

/// A change as a caller writes it.
pub(crate) fn change(json: serde_json::Value) -> RouteChange {
    serde_json::from_value(json).unwrap()
}

/// Waits until `is` is true, for at most ten seconds.
pub(crate) async fn until(is: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < patience, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same of what has to be waited for itself.
pub(crate) async fn until_async(is: impl AsyncFn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !is().await {
        assert!(Instant::now() < patience, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn flow(number: u64, started: Timestamp, account: Option<&str>) -> EndedFlow {
    let (send, receive) = std::sync::mpsc::channel();
    let sink: FlowSink = Arc::new(move |flow| send.send(flow).unwrap());
    let client = "127.0.0.1:1".parse().unwrap();
    let mut open =
        OpenFlow::open(FlowId::new(started, number), started, Instant::now(), Listener::OutboundHttp, client, sink);
    open.record.account = account.map(Arc::from);
    open.end(Outcome::Ok);
    receive.recv().unwrap()
}
