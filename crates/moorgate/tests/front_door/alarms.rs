//! Alarms: webhooks that are signed and tried again, and mail, as their receivers get them.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use moorgate_keys::LocalCa;
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::{
    gateway::{Gateway, MOORGATE, Setup, eventually, eventually_within, follow},
    talk::{Credential, Talk},
    target::{Target, ok},
    tools::{clean, outcome, python, run, script, tool},
};

/// How long it may take until something is told: what costs more to see is looked at twice a minute, and an origin must have
/// been down for one.
const TOLD: Duration = Duration::from_secs(90);

/// A request that a receiver got.
struct Posted(String);

impl Posted {
    fn field(&self, name: &str) -> &str {
        let line = self.0.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("{name}: {}", self.0)).split_once(':').unwrap().1.trim()
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.body()).unwrap()
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    /// Whether it is signed with this secret, as OpenSSL reckons.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let signed = format!("{}.{}.{}", self.field("webhook-id"), self.field("webhook-timestamp"), self.body());
        let mut openssl = tool("openssl");
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(signed.as_bytes()).unwrap();
        openssl.args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{key}"), "-r"]);
        let digest = run(openssl.arg(file.path()));
        let hex = digest.split(' ').next().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        self.field("webhook-signature") == format!("v1,{}", BASE64_STANDARD.encode(bytes))
    }
}

fn posted(target: &Target) -> Vec<Posted> {
    target.seen().requests.into_iter().map(Posted).collect()
}

fn url(target: &Target) -> String {
    format!("http://{}/hooks?team=1", target.address)
}

/// A receiver; its id and the secret that it is shown.
fn add(gateway: &Gateway, receiver: &str, more: &[&str]) -> (String, String) {
    let made = gateway.cli_json(&[&["alarm", "add", "acme", receiver][..], more].concat());
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    (text("id"), text("secret"))
}

fn listed(gateway: &Gateway, id: &str) -> Value {
    let all = gateway.cli_json(&["alarm", "list", "acme"]);
    all.as_array().unwrap().iter().find(|one| one["id"] == id).expect("it is listed").clone()
}

fn refusal(gateway: &Gateway, args: &[&str]) -> String {
    let output = gateway.try_cli(args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// The account `acme`, which may send three requests a month.
fn account(gateway: &Gateway) -> Credential {
    gateway.cli(&["account", "add", "acme"]);
    gateway.cli(&["tier", "set", "small", "--requests-per-month", "3"]);
    gateway.cli(&["account", "set", "acme", "--tier", "small"]);
    let added = gateway.cli_json(&["credential", "add", "acme"]);
    ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned()).into()
}

#[test]
fn a_webhook_is_signed_tried_again_and_told_once_over_a_restart() {
    let home = TempDir::new().unwrap();
    let mut gateway = Setup::default().data_dir(home.path()).start();
    let credential = account(&gateway);
    let tries = AtomicUsize::new(0);
    // It is not well at first.
    let receiver = Target::http(move |_| match tries.fetch_add(1, Relaxed) {
        0 => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    });
    let gone = Target::http(|_| "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n".to_owned());
    let other = Target::http(|_| ok(""));
    let (id, secret) = add(&gateway, &url(&receiver), &[]);
    let (gone_id, _) = add(&gateway, &url(&gone), &["--kind", "quota"]);
    add(&gateway, &url(&other), &["--kind", "dns", "--kind", "never-used"]);
    assert_eq!(listed(&gateway, &id)["last"], Value::Null);

    let target = Target::http(|_| ok("hi"));
    for _ in 0..3 {
        drop(Talk::tunnel(gateway.address("outbound_http"), &credential, &target.address.to_string()).unwrap());
    }
    let first = eventually("the first try", || posted(&receiver).into_iter().next());
    let refused = eventually("what it said", || Some(listed(&gateway, &id)).filter(|it| it["last"].is_object()));
    let said = refused["last"]["said"].as_str().unwrap();
    assert!(said.starts_with("it answered 500 Internal Server Error; tried again in 5 s"), "{said}");
    assert_eq!(refused["waiting"], 1);
    let second = eventually("the second", || posted(&receiver).into_iter().nth(1));
    for one in [&first, &second] {
        assert!(one.0.starts_with("POST /hooks?team=1 HTTP/1.1\r\n"), "{}", one.0);
        assert_eq!(one.field("content-type"), "application/json");
        assert!(one.is_signed_with(&secret) && !one.is_signed_with("whsec_AAAA"), "{}", one.0);
    }
    // The same event, so that a receiver that has had it can tell.
    assert_eq!((first.field("webhook-id"), first.body()), (second.field("webhook-id"), second.body()));
    let event = second.json();
    assert_eq!(event["type"], "quota.begun");
    let data = &event["data"];
    assert_eq!(data["said"], "acme has spent all of its requests of the month: 3 of 3.");
    assert_eq!((&data["account"], &data["link"]), (&"acme".into(), &format!("{}/a/acme", gateway.api()).into()));
    assert!(data["todo"].as_str().unwrap().contains("larger tier") && data["since"].is_string(), "{data}");
    eventually("its delivery", || Some(listed(&gateway, &id)).filter(|it| it["last"]["delivered"] == true));
    assert!(gateway.cli(&["alarm", "list", "acme"]).contains("delivered: it answered 204 No Content"));
    // Who wants nothing is not asked again, and whoever looks sees it.
    eventually("its end", || Some(listed(&gateway, &gone_id)).filter(|it| it["off"].is_string()));
    assert!(gateway.stderr().contains("410 Gone"), "{}", gateway.stderr());

    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let gateway = Setup::default().data_dir(home.path()).start();
    gateway.cli(&["tier", "set", "small", "--requests-per-month", "1000"]);
    let over = eventually("its end", || posted(&receiver).into_iter().nth(2));
    // Had the restart repeated something, it would have come first.
    assert_eq!(over.kind(), "quota.over");
    assert!(over.is_signed_with(&secret), "the secret is kept");
    assert_eq!((posted(&receiver).len(), posted(&gone).len(), posted(&other).len()), (3, 1, 0));
    // Nobody is told any more.
    gateway.cli(&["alarm", "remove", "acme", &id]);
    assert!(refusal(&gateway, &["alarm", "test", "acme", &id]).contains("there is no alarm"));
}

#[test]
fn a_test_says_what_became_of_it_and_no_receiver_leads_anywhere_that_traffic_may_not_go() {
    let gateway = Gateway::start();
    gateway.cli(&["account", "add", "acme"]);
    let good = Target::http(|_| ok(&"x".repeat(1 << 20)));
    let elsewhere = Target::http(|_| ok(""));
    let to = url(&elsewhere);
    let redirects = Target::http(move |_| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"));
    let (id, secret) = add(&gateway, &url(&good), &[]);
    assert!(gateway.cli(&["alarm", "test", "acme", &id]).contains("delivered: it answered 200 OK"));
    let test = posted(&good).remove(0);
    assert!(test.kind() == "test" && test.is_signed_with(&secret), "{}", test.0);
    assert!(refusal(&gateway, &["alarm", "test", "acme", &id]).contains("a test was just sent there"));
    let (id, _) = add(&gateway, &url(&redirects), &[]);
    let said = refusal(&gateway, &["alarm", "test", "acme", &id]);
    assert!(said.contains("not delivered: it answered 302 Found, which is not followed"), "{said}");
    assert!(elsewhere.seen().requests.is_empty());
    // One that closes.
    let closes = Target::new("127.0.0.1:0", drop);
    let (id, _) = add(&gateway, &url(&closes), &[]);
    assert!(refusal(&gateway, &["alarm", "test", "acme", &id]).contains("not delivered"));

    let own = gateway.api().strip_prefix("http://").unwrap().to_owned();
    let proxy = gateway.address("outbound_http");
    for (receiver, words) in [
        ("https://169.254.169.254/latest/meta-data", "cloud metadata lives there"),
        ("https://[::ffff:169.254.169.254]/", "cloud metadata lives there"),
        ("https://10.0.0.1/", "a private address"),
        ("http://169.254.169.254/", "use https://"),
        (&format!("http://{own}/api/v1/accounts"), "a listener of this gateway"),
        (&format!("https://{proxy}/"), "a listener of this gateway"),
        ("https://user:word@hooks.example.com/", "username and password"),
        ("ops@example.com\r\nBcc: all@example.com", "line break"),
        ("ops@example.com", "[smtp]"),
        ("javascript://x/%0aalert(1)", "no URL that can be posted to"),
    ] {
        let said = refusal(&gateway, &["alarm", "add", "acme", receiver]);
        assert!(said.contains(words), "{receiver:?}: {said}");
    }
    assert!(refusal(&gateway, &["alarm", "add", "acme", "https://a.example/", "--kind", "x"]).contains("never_used"));
    // A name is judged when it is resolved.
    let (id, _) = add(&gateway, &format!("http://localhost:{}/", own.rsplit_once(':').unwrap().1), &[]);
    assert!(refusal(&gateway, &["alarm", "test", "acme", &id]).contains("not delivered"));
    assert_eq!(gateway.cli_json(&["alarm", "list", "acme"]).as_array().unwrap().len(), 4);
    // What belongs to another is not there.
    gateway.cli(&["account", "add", "other"]);
    for verb in ["remove", "test"] {
        assert!(refusal(&gateway, &["alarm", verb, "other", &id]).contains("there is no alarm"));
    }
}

#[test]
fn each_kind_of_trouble_is_told() {
    let home = TempDir::new().unwrap();
    let mut gateway = Setup::default().data_dir(home.path()).start();
    gateway.cli(&["account", "add", "acme"]);
    let receiver = Target::http(|_| ok(""));
    add(&gateway, &url(&receiver), &[]);
    // Nobody is there.
    let to = "http://127.0.0.1:1";
    gateway.cli(&["route", "add", "app.test", to, "--mode", "terminate", "--account", "acme", "--check-every", "1s"]);
    // A certificate with a tenth of its life left.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new(["app.test".to_owned()]).unwrap();
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    (certificate.not_before, certificate.not_after) = ((now - 9 * day).into(), (now + day).into());
    let file = |name: &str, text: String| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let chain = file("app.pem", certificate.self_signed(&key).unwrap().pem());
    gateway.cli(&["cert", "add", "app.test", "--chain", &chain, "--key", &file("app.key", key.serialize_pem())]);
    let username = |name: &str| {
        let made = gateway.cli_json(&["credential", "add", "acme", "--name", name]);
        made["username"].as_str().unwrap().to_owned()
    };
    let (unused, used) = (username("reports"), username("billing"));
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let mut aged = python("age_credentials.py");
    run(aged.arg(home.path().join("moorgate.sqlite")).args([&unused, &used]));

    let gateway = Setup::default().data_dir(home.path()).start();
    let told = |kind: &str| {
        let event = eventually_within(TOLD, kind, || posted(&receiver).into_iter().find(|one| one.kind() == kind));
        let said = event.json()["data"]["said"].as_str().unwrap().to_owned();
        assert!(kind.ends_with("over") || !event.json()["data"]["todo"].as_str().unwrap().is_empty(), "{said}");
        said
    };
    let said = told("certificate.begun");
    assert!(said.starts_with("The certificate of app.test ends in "), "{said}");
    let said = told("never_used.begun");
    assert!(said.starts_with(&format!("The credential reports ({unused}) was not used since it was made")), "{said}");
    let said = told("stopped.begun");
    assert!(said.starts_with(&format!("The traffic of billing ({used}) stopped after ")), "{said}");
    let said = told("origin.begun");
    assert!(said.contains("app.test") && said.contains(to), "{said}");
    // What is mended is over.
    gateway.cli(&["credential", "revoke", "acme", &unused]);
    told("never_used.over");
}

/// A mail server, and what it was given.
struct Sink {
    child: Child,
    said: Arc<Mutex<String>>,
    port: u64,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sink {
    fn start(directory: &Path, mode: &str) -> Self {
        let mut python = clean("python3");
        python.arg(script("smtp_sink.py")).args([directory.join("chain.pem"), directory.join("key.pem")]);
        python.args([mode, "ops@example.com", "open sesame"]).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let said = follow(child.stdout.take().unwrap());
        let port = eventually("its port", || {
            let said: Value = serde_json::from_str(said.lock().unwrap().lines().next()?).ok()?;
            said["port"].as_u64()
        });
        Self { child, said, port }
    }

    fn mails(&self) -> Vec<Value> {
        self.said.lock().unwrap().lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A CA, and a server's certificate by it, in files.
fn certified(directory: &Path) {
    let ca = LocalCa::create("a mail server's CA").unwrap();
    let issued = ca.issue(&["127.0.0.1".parse().unwrap()]).unwrap();
    let pem = |label: &str, der: &[u8]| {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    fs::write(directory.join("ca.pem"), ca.cert_pem()).unwrap();
    fs::write(directory.join("chain.pem"), pem("CERTIFICATE", &issued.chain[0])).unwrap();
    fs::write(directory.join("key.pem"), pem("PRIVATE KEY", issued.key.secret_der())).unwrap();
    fs::write(directory.join("password"), "open sesame\n").unwrap();
}

#[test]
fn mail_goes_by_the_operators_server_in_tls_from_the_first_byte_or_before_anything_is_said() {
    let directory = TempDir::new().unwrap();
    let at = |file: &str| directory.path().join(file).display().to_string();
    certified(directory.path());
    for (mode, scheme) in [("smtps", "smtps"), ("starttls", "smtp+starttls")] {
        let sink = Sink::start(directory.path(), mode);
        let server = format!("{scheme}://ops%40example.com@127.0.0.1:{}", sink.port);
        let setup = || {
            Setup::default()
                .env("MOORGATE_SMTP_URL", &server)
                .env("MOORGATE_SMTP_PASSWORD_FILE", at("password"))
                .env("MOORGATE_SMTP_FROM", "Moorgate <alarms@gateway.example>")
        };
        let gateway = setup().env("MOORGATE_SMTP_TRUST", at("ca.pem")).start();
        let credential = account(&gateway);
        let (id, secret) = add(&gateway, "team+ops@example.com", &[]);
        assert_eq!(secret, "", "a mailbox verifies nothing");
        let said = gateway.cli(&["alarm", "test", "acme", &id]);
        assert!(said.contains("delivered: 250 queued as 7"), "{mode}: {said}");
        let target = Target::http(|_| ok("hi"));
        for _ in 0..3 {
            drop(Talk::tunnel(gateway.address("outbound_http"), &credential, &target.address.to_string()).unwrap());
        }
        let mail = eventually("a mail", || sink.mails().into_iter().nth(1));
        assert_eq!((&mail["tls"], &mail["auth"]), (&true.into(), &true.into()), "{mode}");
        assert_eq!(mail["from"], "MAIL FROM:<alarms@gateway.example>");
        assert_eq!(mail["to"], serde_json::json!(["RCPT TO:<team+ops@example.com>"]));
        let data = mail["data"].as_str().unwrap();
        for line in [
            "Subject: Moorgate, acme: acme has spent all of its requests of the month",
            "From: Moorgate <alarms@gateway.example>",
            "To: team+ops@example.com",
            "Auto-Submitted: auto-generated",
            "@gateway.example>\r\n",
            "Account: acme",
        ] {
            assert!(data.contains(line), "{line}: {data}");
        }
        // A server that will not have it is not asked again.
        let (nobody, _) = add(&gateway, "nobody@example.com", &[]);
        let said = refusal(&gateway, &["alarm", "test", "acme", &nobody]);
        assert!(said.contains("550") && said.contains("no such mailbox"), "{said}");
        // One that shows a certificate of nobody we trust gets neither mail nor password.
        let count = sink.mails().len();
        let careful = setup().start();
        careful.cli(&["account", "add", "acme"]);
        let (id, _) = add(&careful, "team@example.com", &[]);
        assert!(refusal(&careful, &["alarm", "test", "acme", &id]).contains("not delivered"), "{mode}");
        assert_eq!(sink.mails().len(), count);
        assert!(!gateway.stderr().contains("sesame") && !careful.stderr().contains("sesame"));
    }
}

#[test]
fn what_is_wrong_with_the_mail_server_is_said_before_anything_starts() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("moorgate.toml");
    let check = |toml: &str| {
        fs::write(&file, toml).unwrap();
        let checked = outcome(tool(MOORGATE).args(["config", "check"]).arg(&file));
        (checked.status.success(), String::from_utf8(checked.stderr).unwrap())
    };
    let password = directory.path().join("password");
    fs::write(&password, "x").unwrap();
    let named =
        format!("url = \"smtps://ops@mail.example.com\"\npassword_file = {password:?}\nfrom = \"a@example.com\"");
    assert_eq!(check(&format!("[smtp]\n{named}\n")), (true, String::new()));
    for (toml, words) in [
        ("url = \"smtps://mail.example.com\"", "whom mail is from in smtp.from"),
        ("url = \"smtps://ops@mail.example.com\"\nfrom = \"a@example.com\"", "go together"),
        ("url = \"smtps://ops:hunter2@mail.example.com\"\nfrom = \"a@example.com\"", "stands in a file that"),
        ("url = \"smtp://mail.example.com\"\nfrom = \"a@example.com\"", "on a loopback address alone"),
        ("url = \"smtps://mail.example.com\"\nfrom = \"nobody\"", "an email address"),
        ("from = \"a@example.com\"", "name it in smtp.url"),
        (&format!("{}\ntrust = \"/nowhere.pem\"", named), "smtp.trust names /nowhere.pem"),
        (&named.replace(password.to_str().unwrap(), "/nowhere"), "cannot read /nowhere"),
    ] {
        let (good, said) = check(&format!("[smtp]\n{toml}\n"));
        assert!(!good && said.contains(words) && !said.contains("hunter2"), "{toml}: {said}");
    }
}
