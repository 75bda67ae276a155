//! What lies on a disk: whoever copies it all, the master key aside, has no key and no password.

use std::{fs, path::Path};

use aho_corasick::AhoCorasick;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use rcgen::KeyPair;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use test_postgres::Postgres;

use crate::{
    acme::{self, Ca},
    gateway::{Gateway, Setup, eventually},
    inbound::support::{Client, Uploaded, ask, get, route},
    target::{Target, find, ok},
};

const MASTER_KEY: [u8; 32] = [0x5a; 32];
/// What stands before the secret of a P-256 key in PKCS #8, and in nothing that is public (RFC 5915 §3, RFC 5958 §2).
const BEFORE_SECRET: [u8; 9] = [0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20];
/// What a start leaves to its user alone, secret by its purpose.
const GIVEN_OUT: [&str; 2] = ["operator.token", "default.env"];

/// What must not be found: each secret's name, and every way in which it may be written.
struct Secrets {
    names: Vec<&'static str>,
    written: AhoCorasick,
}

impl Secrets {
    fn new(secrets: &[(&'static str, &[u8])]) -> Self {
        let forms: Vec<_> = secrets
            .iter()
            .flat_map(|(name, secret)| written(secret).into_iter().map(move |form| (*name, form)))
            .collect();
        let written = AhoCorasick::new(forms.iter().map(|(_, form)| form)).unwrap();
        Self { names: forms.into_iter().map(|(name, _)| name).collect(), written }
    }

    /// The name of one that stands there.
    fn in_bytes(&self, bytes: &[u8]) -> Option<&'static str> {
        // PEM breaks its lines anywhere.
        let joined: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let found = self.written.find(bytes).or_else(|| self.written.find(&joined))?;
        Some(self.names[found.pattern()])
    }
}

fn written(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        // It may begin anywhere in a group of three. What depends on its neighbours is left out.
        forms.extend((0..3).map(|begins| {
            let padded = [&vec![0; begins], secret].concat();
            let text = engine.encode(&padded).into_bytes();
            text[(begins * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
        }));
    }
    forms
}

/// Every file below a directory, with its name.
fn files(below: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        // One may go while it is looked at.
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}

#[test]
fn a_key_is_found_however_it_is_written() {
    let key = KeyPair::generate().unwrap();
    let secrets = Secrets::new(&[("a key", &BEFORE_SECRET)]);
    let finds = |bytes: &[u8]| secrets.in_bytes(bytes).is_some();
    for offset in 0..3 {
        let der = [&vec![7; offset][..], &key.serialize_der(), b"more"].concat();
        let texts = [STANDARD_NO_PAD.encode(&der), URL_SAFE_NO_PAD.encode(&der)];
        assert!(finds(&der) && texts.iter().all(|text| finds(text.as_bytes())), "{offset}");
    }
    assert!(finds(key.serialize_pem().as_bytes()));
    assert!(!finds(key.public_key_raw()) && !finds(key.public_key_pem().as_bytes()));
}

/// Has a gateway hold some of every secret, and looks for them in all that it and its store have written.
fn nothing_secret_is_written(setup: impl Fn(&Path) -> Setup, store: Option<&Postgres>) {
    let ca = Ca::start(acme::Book { life: acme::QUARTER, ..acme::Book::default() });
    let directory = tempfile::tempdir().unwrap();
    let (data, flows) = (directory.path().join("data"), directory.path().join("flows"));
    let master_key: String = MASTER_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    let start = || -> Gateway {
        let setup = ca.with(setup(&data)).env("MOORGATE_LOG_FLOWS", flows.display().to_string());
        setup.env("MOORGATE_SECRETS_MASTER_KEY", &master_key).start()
    };
    let mut gateway = start();

    // Keys that it makes: the local CA's, its account's at the CA, that of a certificate. One that it is given.
    let origin = Target::http(|_| ok("hi"));
    let url = format!("http://{}", origin.address);
    acme::add(&gateway);
    eventually("a certificate", || (acme::shown(&gateway)["source"] == "issued").then_some(()));
    route(&gateway, "given.example.com", "terminate", &[&url], &[]);
    let given = Uploaded::for_names(&["given.example.com"]);
    given.add_to(&gateway, "given.example.com");
    let file = directory.path().join("users");
    fs::write(&file, "alice:open-sesame-42").unwrap();
    gateway.cli(&["route", "set", "given.example.com", "--basic-auth-file", file.to_str().unwrap()]);
    gateway.cli(&["route", "set", "given.example.com", "--set-header", "X-Api-Key=sk_live_31337"]);
    let token = gateway.cli_json(&["token", "add"])["token"].as_str().unwrap().to_owned();
    let credential = gateway.cli_json(&["credential", "add", "default"]);
    let password = credential["password"].as_str().unwrap().to_owned();

    // They are used, rightly and wrongly.
    let client = Client::trusting(given.ca.cert_pem().as_bytes());
    let asked = |authorization: &str| {
        let mut stream = client.connect(gateway.address("inbound_tls"), "given.example.com");
        ask(&mut stream, get("given.example.com", "/", &format!("Authorization: Basic {authorization}\r\n"))).status
    };
    assert_eq!((asked("YWxpY2U6b3Blbi1zZXNhbWUtNDI="), asked("YWxpY2U6d3Jvbmc=")), (200, 401));
    let username = credential["username"].as_str().unwrap().to_owned();
    let own = (username, password.clone());
    assert_eq!(crate::shared::ask(gateway.address("outbound_http"), &own), Ok(200));
    assert_eq!(crate::shared::ask(gateway.address("outbound_http"), &(own.0.clone(), token.clone())), Ok(407));
    let backup = directory.path().join("backup");
    gateway.cli(&["backup", backup.to_str().unwrap()]);
    gateway.wait_flow(|flow| flow["outcome"] == "ok");
    eventually("a sealed copy", || data.join("snapshot.sealed").exists().then_some(()));

    let key = PrivateKeyDer::from_pem_slice(&fs::read(given.key()).unwrap()).unwrap();
    let secrets = Secrets::new(&[
        ("the master key", &MASTER_KEY),
        ("the master key's text", master_key.as_bytes()),
        ("a key that was made", &BEFORE_SECRET),
        ("the key that was given", &key.secret_der()[36..68]),
        ("a key's PEM", b"PRIVATE KEY-----"),
        ("a password of basic authentication", b"open-sesame-42"),
        ("the value of a header field", b"sk_live_31337"),
        ("a credential's password", password.as_bytes()),
        ("a token", token.as_bytes()),
        ("the operator's token", gateway.operator_token().as_bytes()),
    ]);
    // As it is at work; as kill -9 leaves it; as the next start finds and leaves it.
    for moment in ["at work", "killed", "ended"] {
        let mut written = files(&data);
        written.retain(|(name, _)| !GIVEN_OUT.iter().any(|given| name.ends_with(given)));
        written.extend([&backup, &flows].map(|path| (path.display().to_string(), fs::read(path).unwrap())));
        written.push(("standard output".to_owned(), gateway.stdout().into_bytes()));
        written.push(("standard error".to_owned(), gateway.stderr().into_bytes()));
        if let Some(store) = store {
            written.push(("a dump".to_owned(), store.dump("postgres").into_bytes()));
            written.extend(files(store.directory()));
        }
        // In the store or its log, in the flows, in what is shown.
        let telling = written.iter().filter(|(_, bytes)| find(bytes, b"given.example.com").is_some()).count();
        assert!(telling >= 2, "{moment}: it was not looked where things are written");
        for (name, bytes) in &written {
            assert_eq!(secrets.in_bytes(bytes), None, "{moment}: it stands in {name}");
        }
        match moment {
            "at work" => gateway.signal("KILL"),
            "killed" => {
                drop(gateway);
                gateway = start();
                gateway.signal("TERM");
            }
            _ => return,
        }
        gateway.wait();
    }
}

#[test]
fn nothing_secret_stands_in_any_file_or_line_of_a_gateway() {
    nothing_secret_is_written(|data| Setup::default().data_dir(data), None);
}

#[test]
fn nothing_secret_stands_in_a_shared_store_its_log_or_a_dump_of_it() {
    let server = Postgres::start();
    let with = |data: &Path| Setup::default().data_dir(data).env("MOORGATE_STORE_URL", server.url("postgres"));
    nothing_secret_is_written(with, Some(&server));
}
