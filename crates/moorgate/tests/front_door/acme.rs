//! What Debian's Pebble lacks (renewal information, profiles, `Retry-After`), against a small CA of the tests' own that
//! validates nothing and says what a test likes.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    gateway::{Gateway, Setup, eventually},
    inbound::support::TlsOrigin,
};

/// What the CA was asked, and what it is to say.
#[derive(Default)]
pub struct Book {
    /// The payloads of orders.
    pub orders: Vec<Value>,
    pub issued: Vec<String>,
    /// Said in place of the next orders: a status, a `Retry-After` and a problem.
    pub refusals: VecDeque<(u16, u32, Value)>,
    /// Whether it says nothing to whoever asks for a certificate.
    pub hangs: bool,
    /// When certificates are to be renewed, in seconds from now.
    pub window: Option<(i64, i64)>,
    /// How long certificates live, in seconds.
    pub life: u64,
}

/// A CA on this machine, as `localhost`.
pub struct Ca {
    server: TlsOrigin,
    trust: NamedTempFile,
    book: Arc<Mutex<Book>>,
}

impl Ca {
    pub fn start(book: Book) -> Self {
        let book = Arc::new(Mutex::new(book));
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "A small CA");
        let issuer = Arc::new(Issuer::new(params, KeyPair::generate().unwrap()));
        let shared = book.clone();
        let server = TlsOrigin::start(&["localhost"], move |stream| {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let Some((method, path)) =
                head.split_once(' ').map(|(method, rest)| (method, rest.split(' ').next().unwrap()))
            else {
                return;
            };
            let field = |name: &str| {
                let line =
                    head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned));
                line.map(|value| value.trim().to_owned()).unwrap_or_default()
            };
            let mut body = vec![0; field("content-length:").parse().unwrap_or_default()];
            stream.read_exact(&mut body).unwrap();
            let base = format!("https://{}", field("host:"));
            let payload = serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|jws| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jws["payload"].as_str()?).ok()?).ok());
            if path.starts_with("/finalize") && shared.lock().unwrap().hangs {
                // Until whoever asks has gone.
                let _ = stream.read(&mut [0]);
                return;
            }
            let (status, fields, answer) = answer(&shared, &issuer, &base, path, payload.unwrap_or(Value::Null));
            let length = answer.len();
            let answer = if method == "HEAD" { "" } else { &answer };
            let text = format!(
                "HTTP/1.1 {status} said\r\nReplay-Nonce: abc\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n{answer}"
            );
            let stream = stream.get_mut();
            let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        });
        let mut trust = NamedTempFile::new().unwrap();
        trust.write_all(server.ca.cert_pem().as_bytes()).unwrap();
        Self { server, trust, book }
    }

    fn gateway(&self, profile: &str) -> Gateway {
        self.with(Setup::default()).env("MOORGATE_ACME_PROFILE", profile).start()
    }

    /// A gateway that orders from it.
    pub fn with(&self, setup: Setup) -> Setup {
        setup
            .env("MOORGATE_ACME_DIRECTORY", format!("https://localhost:{}/dir", self.server.address.port()))
            .env("MOORGATE_ACME_TRUST", self.trust.path().display().to_string())
    }

    fn orders(&self) -> Vec<Value> {
        self.book.lock().unwrap().orders.clone()
    }
}

type Said = (u16, String, String);

fn answer(book: &Mutex<Book>, issuer: &Issuer<'_, KeyPair>, base: &str, path: &str, payload: Value) -> Said {
    let mut book = book.lock().unwrap();
    let plain = |status: u16, value: Value| (status, String::new(), value.to_string());
    let order = |number: usize, status: &str| {
        let asked = book.orders.get(number).cloned().unwrap_or_default();
        json!({ "status": status, "authorizations": [], "finalize": format!("{base}/finalize/{number}"),
            "certificate": format!("{base}/certificate/{number}"), "replaces": asked["replaces"], "profile": asked["profile"] })
    };
    let number = path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    match path.split('/').nth(1).unwrap_or_default() {
        "dir" => plain(
            200,
            json!({ "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"), "renewalInfo": format!("{base}/window"),
                "meta": { "profiles": { "shortlived": "of six days" }, "caaIdentities": ["small.test"] } }),
        ),
        "nonce" => plain(200, json!({})),
        "account" => (201, format!("Location: {base}/account/1\r\n"), "{}".to_owned()),
        "order" if path == "/order" => {
            if let Some((status, after, problem)) = book.refusals.pop_front() {
                return (status, format!("Retry-After: {after}\r\n"), problem.to_string());
            }
            book.orders.push(payload);
            let number = book.orders.len() - 1;
            let asked = book.orders[number].clone();
            let said = json!({ "status": "ready", "authorizations": [], "finalize": format!("{base}/finalize/{number}"),
                "replaces": asked["replaces"], "profile": asked["profile"] });
            (201, format!("Location: {base}/order/{number}\r\n"), said.to_string())
        }
        "order" => plain(200, order(number, "valid")),
        "finalize" => {
            let csr = URL_SAFE_NO_PAD.decode(payload["csr"].as_str().unwrap()).unwrap();
            let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
            let now = SystemTime::now();
            request.params.not_before = (now - Duration::from_secs(60)).into();
            request.params.not_after = (now + Duration::from_secs(book.life)).into();
            request.params.use_authority_key_identifier_extension = true;
            let issued = request.signed_by(issuer).unwrap().pem();
            book.issued.resize(number + 1, String::new());
            book.issued[number] = issued;
            let said = json!({ "status": "valid", "authorizations": [], "finalize": format!("{base}/finalize/{number}"),
                "certificate": format!("{base}/certificate/{number}") });
            plain(200, said)
        }
        "certificate" => (200, String::new(), book.issued[number].clone()),
        "window" => {
            let Some((start, end)) = book.window.take() else { return plain(404, json!({})) };
            let time = |seconds: i64| {
                let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
                at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
            };
            let said = json!({ "suggestedWindow": { "start": time(start), "end": time(end) } });
            (200, "Retry-After: 21600\r\n".to_owned(), said.to_string())
        }
        _ => plain(404, json!({})),
    }
}

pub fn add(gateway: &Gateway) {
    gateway.cli(&["route", "add", "app.example.com", "http://127.0.0.1:9", "--mode", "terminate"]);
}

pub fn shown(gateway: &Gateway) -> Value {
    let shown = gateway.try_cli(&["cert", "show", "app.example.com", "--json"]);
    serde_json::from_slice(&shown.stdout).unwrap_or_default()
}

pub const QUARTER: u64 = 90 * 24 * 3_600;

#[test]
fn a_certificate_is_renewed_when_the_ca_says_so_and_says_what_it_replaces() {
    let ca = Ca::start(Book { life: QUARTER, window: Some((-3_600, -1_800)), ..Book::default() });
    let gateway = ca.gateway("shortlived");
    add(&gateway);
    let orders = eventually("a second order", || Some(ca.orders()).filter(|orders| orders.len() == 2));
    assert_eq!(orders[0]["profile"], "shortlived");
    assert_eq!(orders[0]["identifiers"], json!([{ "type": "dns", "value": "app.example.com" }]));
    assert!(orders[0]["replaces"].is_null(), "{orders:?}");
    assert_eq!(orders[1]["replaces"].as_str().unwrap().split('.').count(), 2, "RFC 9773 §4.1: {orders:?}");
    // From then on by its life again.
    let days = |shown: &Value| {
        let at: jiff::Timestamp = shown["renew_at"].as_str()?.parse().ok()?;
        Some(at.duration_since(jiff::Timestamp::now()).as_hours() / 24)
    };
    eventually("the next renewal", || days(&shown(&gateway)).filter(|days| (55..=61).contains(days)));
    assert_eq!(ca.orders().len(), 2);
}

#[test]
fn an_order_that_a_killed_gateway_had_open_is_begun_once_more_and_no_oftener() {
    let ca = Ca::start(Book { life: QUARTER, hangs: true, ..Book::default() });
    let directory = tempfile::tempdir().unwrap();
    let start = || ca.with(Setup::default()).data_dir(directory.path()).start();
    let mut gateway = start();
    add(&gateway);
    eventually("an order", || (ca.orders().len() == 1).then_some(()));
    gateway.signal("KILL");
    gateway.wait();
    ca.book.lock().unwrap().hangs = false;
    let gateway = start();
    eventually("a certificate", || (shown(&gateway)["source"] == "issued").then_some(()));
    assert_eq!(ca.orders().len(), 2);
}

#[test]
fn a_ca_that_has_had_enough_is_left_alone_for_as_long_as_it_says() {
    let limited = json!({ "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many orders for you" });
    let refusals = [(429, 36_000, limited)].into();
    let ca = Ca::start(Book { life: QUARTER, refusals, ..Book::default() });
    let gateway = ca.gateway("");
    add(&gateway);
    let failed = eventually("the refusal", || Some(shown(&gateway)).filter(|shown| shown["last_error"].is_string()));
    assert_eq!(failed["last_error"], "the CA says rateLimited: too many orders for you");
    let at: jiff::Timestamp = failed["renew_at"].as_str().unwrap().parse().unwrap();
    let minutes = at.duration_since(jiff::Timestamp::now()).as_mins();
    assert!((595..=600).contains(&minutes), "{failed}");
    // Somebody may know better.
    gateway.cli(&["cert", "renew", "app.example.com"]);
    eventually("a certificate", || (shown(&gateway)["source"] == "issued").then_some(()));
}
