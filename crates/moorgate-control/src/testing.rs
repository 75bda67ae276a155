//! A data plane that writes down what it was given, and a gateway in a directory of its own.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moorgate_contract::{
    account::Principal,
    egress::Presence,
    failure::{Code, Failure},
    flow::{Flow, FlowId, FlowSink, OpenFlow},
    listener::Listener,
    outcome::Outcome,
    snapshot::{Site, Snapshot},
    time::Timestamp,
};
use moorgate_keys::{LocalCa, MasterKey};
use moorgate_wire::name::DomainName;
use tempfile::TempDir;

use crate::{Control, NewCredential, Plane, Result, RouteChange, Settings, Start, control::now};

#[derive(Default)]
pub(crate) struct Double {
    pub(crate) published: Mutex<Vec<Arc<Snapshot>>>,
    pub(crate) absent: Mutex<Vec<IpAddr>>,
    pub(crate) clock: Mutex<Duration>,
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

    fn clock(&self) -> Duration {
        *self.clock.lock().unwrap()
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
    pub(crate) plane: Arc<Double>,
    pub(crate) egress: Vec<IpAddr>,
    pub(crate) key: u8,
    pub(crate) default: bool,
    pub(crate) site: Site,
}

impl House {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self { dir, plane: Arc::default(), egress: vec![], key: 1, default: true, site: Site::default() }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) async fn open(&self) -> Result<(Control, Start)> {
        self.open_at(self.dir.path()).await
    }

    pub(crate) async fn open_at(&self, data_dir: &Path) -> Result<(Control, Start)> {
        Control::open(Settings {
            data_dir: data_dir.to_owned(),
            store_url: "sqlite".to_owned(),
            master_key: MasterKey::parse(&format!("{:02x}", self.key).repeat(32)).unwrap(),
            site: Arc::new(self.site.clone()),
            egress: self.egress.clone(),
            make_default_account: self.default,
            plane: self.plane.clone(),
        })
        .await
    }

    /// Everything as kill -9 would leave it now.
    pub(crate) fn image(&self) -> TempDir {
        let image = TempDir::new().unwrap();
        for file in std::fs::read_dir(self.dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), image.path().join(file.file_name())).unwrap();
        }
        image
    }

    /// Waits until the sealed copy is there.
    pub(crate) async fn sealed(&self) {
        until(|| self.path("snapshot.sealed").exists()).await;
    }
}

/// A certificate for `names` of a CA of its own, and its key.
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) key_der: Vec<u8>,
}

impl Made {
    pub(crate) fn of(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let issued = LocalCa::create("Test CA").unwrap().issue(&names).unwrap();
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

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn flow(number: u64, started: Timestamp, account: Option<&str>) -> Flow {
    let (send, receive) = std::sync::mpsc::channel();
    let sink: FlowSink = Arc::new(move |flow| send.send(flow).unwrap());
    let client = "127.0.0.1:1".parse().unwrap();
    let mut open =
        OpenFlow::open(FlowId::new(started, number), started, Instant::now(), Listener::OutboundHttp, client, sink);
    open.record.account = account.map(Arc::from);
    open.end(Outcome::Ok);
    receive.recv().unwrap()
}
