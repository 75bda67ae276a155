//! The console, as people use it: in Chromium, and by what a browser would not send.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moorgate_keys::LocalCa;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    gateway::{Gateway, Setup, eventually},
    talk::Talk,
    target::Target,
    tools::{both, node, outcome, run, tool},
};

/// A gateway with a pair of addresses.
pub fn gateway() -> Gateway {
    Setup::default().env("MOORGATE_EGRESS_ADDRESSES", "127.0.0.2,127.0.0.3").start()
}

/// A link by which somebody comes in.
pub fn link(gateway: &Gateway, more: &[&str]) -> String {
    gateway.cli(&[&["person", "invite"][..], more].concat()).trim().to_owned()
}

/// Where pictures of the pages are kept, to be looked at.
pub fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("console")
}

#[test]
fn somebody_connects_an_app_and_a_domain_and_sees_what_comes_through() {
    let gateway = gateway();
    let mut browser = node("use_console.mjs");
    browser.arg(link(&gateway, &[])).arg(pictures());
    let said = outcome(&mut browser);
    assert!(said.status.success(), "{}", both(&said));
    assert!(both(&said).contains("31 pages looked at"), "{}", both(&said));
}

/// An identity provider, that ends with the test.
struct Provider {
    process: Child,
    issuer: String,
    ca: NamedTempFile,
}

impl Provider {
    fn start() -> Self {
        let ca = LocalCa::create("an identity provider's").unwrap();
        let chain = ca.issue(&["localhost".parse().unwrap()]).unwrap();
        let file = |bytes: &[u8]| {
            let mut file = NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            file
        };
        let certificate = file(pem("CERTIFICATE", chain.chain[0].as_ref()).as_bytes());
        let key = file(pem("PRIVATE KEY", chain.key.secret_der()).as_bytes());
        let mut process = node("serve_openid.mjs");
        process.arg(certificate.path()).arg(key.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = process.spawn().unwrap();
        let mut issuer = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut issuer).unwrap();
        Self { process, issuer: issuer.trim().to_owned(), ca: file(ca.cert_pem().as_bytes()) }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn somebody_comes_in_by_an_app_a_passkey_an_identity_provider_and_a_link() {
    let provider = Provider::start();
    let gateway = Setup::default()
        .env("MOORGATE_OPENID_ISSUER", &provider.issuer)
        .env("MOORGATE_OPENID_CLIENT_ID", "moorgate")
        .env("MOORGATE_OPENID_CLIENT_SECRET", "a secret: of two & more")
        .env("MOORGATE_OPENID_NAME", "Example SSO")
        .env("MOORGATE_OPENID_TRUST", provider.ca.path().display().to_string())
        .env("MOORGATE_OPENID_DOMAINS", "corp.example")
        .env("MOORGATE_OPENID_ACCOUNT", "default")
        .env("MOORGATE_OPENID_ROLE", "viewer")
        .start();
    let mut browser = node("use_sign_in.mjs");
    let said = outcome(browser.arg(link(&gateway, &[])).arg(pictures()));
    assert!(said.status.success() && both(&said).contains("came in by every way"), "{}", both(&said));
    let people = gateway.cli(&["person", "list"]);
    assert!(people.contains("a passkey") && people.contains(&provider.issuer), "{people}");
    let log = gateway.stderr();
    assert!(!log.contains("a secret") && !gateway.cli(&["audit", "list"]).contains("a secret"), "{log}");
}

/// A browser that keeps its cookie and says where its forms are from.
pub struct Browser {
    base: String,
    cookie: String,
}

/// What it was answered.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Browser {
    fn new(gateway: &Gateway) -> Self {
        Self { base: gateway.api().to_owned(), cookie: String::new() }
    }

    /// One that came in by a link.
    pub fn invited(gateway: &Gateway, more: &[&str], email: &str) -> Self {
        let mut browser = Self::new(gateway);
        let link = link(gateway, more);
        let path = link.strip_prefix(&*browser.base).unwrap().to_owned();
        let answer = browser.post(&path, &[("email", email), ("password", "correct horse battery")]);
        assert_eq!(answer.status, 303, "{}", answer.body);
        browser.keep(&answer);
        browser
    }

    /// The same at another gateway, with the same cookie.
    pub fn at(&self, gateway: &Gateway) -> Self {
        Self { base: gateway.api().to_owned(), cookie: self.cookie.clone() }
    }

    fn keep(&mut self, answer: &Answer) {
        let set = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        self.cookie = set.split(';').next().unwrap().to_owned();
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&[], path)
    }

    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_as(path, fields, &["-H", "Sec-Fetch-Site: same-origin"])
    }

    fn post_as(&self, path: &str, fields: &[(&str, &str)], more: &[&str]) -> Answer {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["-X", "POST"];
        for field in &fields {
            arguments.extend(["--data-urlencode", field]);
        }
        if fields.is_empty() {
            arguments.extend(["-d", ""]);
        }
        self.ask(&[&arguments, more].concat(), path)
    }

    /// What stands in the forms that it is shown.
    pub fn csrf(&self) -> String {
        let page = self.get("/you").body;
        page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    fn ask(&self, more: &[&str], path: &str) -> Answer {
        let mut curl = tool("curl");
        curl.args(["-sS", "-i", "--noproxy", "*", "-H", &format!("Cookie: {}", self.cookie)]).args(more);
        let text = run(curl.arg(format!("{}{path}", self.base)));
        let (head, body) =
            text.replace("\r\n", "\n").split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body }
    }
}

/// Every page and every form that is behind the door, of the account `default`.
const CLOSED: &[(&str, &str)] = &[
    ("GET", "/"),
    ("POST", "/sign-out"),
    ("GET", "/you"),
    ("POST", "/you/password"),
    ("POST", "/you/sign-ins/x/end"),
    ("POST", "/you/app"),
    ("POST", "/you/app/set"),
    ("POST", "/you/app/remove"),
    ("POST", "/you/passkeys"),
    ("POST", "/you/passkeys/ask"),
    ("POST", "/you/passkeys/x/remove"),
    ("POST", "/welcome/x/join"),
    ("GET", "/accounts"),
    ("POST", "/accounts"),
    ("GET", "/tiers"),
    ("POST", "/tiers"),
    ("POST", "/tiers/x/remove"),
    ("POST", "/accounts/default/tier"),
    ("GET", "/gateways"),
    ("GET", "/audit"),
    ("GET", "/people"),
    ("POST", "/people"),
    ("POST", "/people/x/remove"),
    ("POST", "/people/x/again"),
    ("GET", "/a/default"),
    ("GET", "/a/default/letter"),
    ("GET", "/a/default/answers"),
    ("GET", "/a/default/ca.pem"),
    ("GET", "/a/default/connect"),
    ("POST", "/a/default/connect/credential"),
    ("POST", "/a/default/connect/test"),
    ("GET", "/a/default/connect/calls"),
    ("GET", "/a/default/credentials"),
    ("POST", "/a/default/credentials"),
    ("POST", "/a/default/credentials/x/rotate"),
    ("POST", "/a/default/credentials/x/revoke"),
    ("POST", "/a/default/credentials/x/name"),
    ("GET", "/a/default/tokens"),
    ("POST", "/a/default/tokens"),
    ("POST", "/a/default/tokens/x/revoke"),
    ("GET", "/a/default/alarms"),
    ("POST", "/a/default/alarms"),
    ("POST", "/a/default/alarms/x/test"),
    ("POST", "/a/default/alarms/x/remove"),
    ("GET", "/a/default/routes"),
    ("GET", "/a/default/routes/new"),
    ("POST", "/a/default/routes/new"),
    ("GET", "/a/default/routes/app.example.com"),
    ("GET", "/a/default/routes/app.example.com/check"),
    ("POST", "/a/default/routes/app.example.com/request"),
    ("POST", "/a/default/routes/app.example.com/url"),
    ("POST", "/a/default/routes/app.example.com/remove"),
    ("GET", "/a/default/policy"),
    ("POST", "/a/default/policy"),
    ("GET", "/a/default/traffic"),
    ("GET", "/a/default/traffic/live"),
    ("GET", "/a/default/flows/1"),
    ("GET", "/a/default/exposure"),
    ("GET", "/a/default/members"),
    ("POST", "/a/default/members"),
    ("POST", "/a/default/members/x"),
    ("POST", "/a/default/invitations/x/take-back"),
];

/// What a form may send, so that none is refused for being incomplete.
fn filled(csrf: &str) -> Vec<(&str, &str)> {
    let given =
        [("email", "a@example.com"), ("role", "member"), ("overlap", "0"), ("old", "x"), ("new", "x"), ("name", "x")];
    [("csrf", csrf)].into_iter().chain(given).collect()
}

#[test]
fn nobody_sees_or_does_anything_that_is_not_theirs() {
    let gateway = gateway();
    gateway.cli(&["account", "add", "other"]);
    gateway.cli(&[
        "route",
        "add",
        "app.example.com",
        "http://127.0.0.1:9",
        "--mode",
        "terminate",
        "--account",
        "default",
    ]);
    let nobody = Browser::new(&gateway);
    let foreign = Browser::invited(&gateway, &["--account", "other", "--role", "owner"], "eve@example.com");
    let viewer = Browser::invited(&gateway, &["--account", "default", "--role", "viewer"], "viv@example.com");
    let before = gateway.cli(&["export"]);
    let (of_foreign, of_viewer) = (foreign.csrf(), viewer.csrf());
    for (method, path) in CLOSED {
        let ask = |browser: &Browser, csrf: &str| {
            if *method == "GET" { browser.get(path) } else { browser.post(path, &filled(csrf)) }
        };
        let answer = ask(&nobody, "");
        assert!(
            answer.status == 303 && answer.head.contains("location: /sign-in"),
            "{method} {path}: {}",
            answer.status
        );
        let is_own = ["/", "/sign-out", "/welcome/x/join"].contains(path) || path.starts_with("/you");
        if !is_own {
            assert_eq!(ask(&foreign, &of_foreign).status, 404, "another account: {method} {path}");
        }
        let is_operators = !is_own && !path.starts_with("/a/");
        if is_operators {
            assert_eq!(ask(&viewer, &of_viewer).status, 404, "{method} {path}");
        } else if *method == "POST" && !is_own {
            assert_eq!(ask(&viewer, &of_viewer).status, 403, "a viewer may only look: {path}");
        }
    }
    assert_eq!(gateway.cli(&["export"]), before, "nothing was changed");
    // By a name of their own account, too.
    assert_eq!(foreign.get("/a/other/routes/app.example.com").status, 404);
    assert_eq!(foreign.post("/a/other/routes/app.example.com/remove", &filled(&of_foreign)).status, 404);
    assert_eq!(gateway.cli(&["person", "list"]).matches("example.com").count(), 2);
}

#[test]
fn forms_of_other_sites_and_other_sign_ins_are_refused() {
    let gateway = gateway();
    let operator = Browser::invited(&gateway, &[], "ops@example.com");
    let csrf = operator.csrf();
    let add =
        |csrf: &str, more: &[&str]| operator.post_as("/accounts", &[("name", "evil"), ("csrf", csrf)], more).status;
    for more in [
        &["-H", "Sec-Fetch-Site: cross-site"][..],
        &["-H", "Sec-Fetch-Site: same-site"],
        &["-H", "Origin: https://evil.example"],
        &["-H", "Origin: null"],
        &[],
    ] {
        assert_eq!(add(&csrf, more), 403, "{more:?}");
    }
    for wrong in ["", "0", &Browser::invited(&gateway, &[], "two@example.com").csrf()] {
        assert_eq!(add(wrong, &["-H", "Sec-Fetch-Site: same-origin"]), 403, "{wrong}");
    }
    assert!(!gateway.cli(&["account", "list"]).contains("evil"));
    let page = operator.get("/accounts");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'",
        "frame-ancestors 'none'",
        "x-frame-options: DENY",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    assert!(!page.body.contains("style=\"") && !page.body.contains("<script>") && !page.body.contains("onclick"));
    assert_eq!(add(&csrf, &["-H", &format!("Origin: {}", operator.base)]), 303, "its own is taken");
}

#[test]
fn what_people_write_is_shown_as_it_is_and_never_as_markup() {
    let gateway = gateway();
    let mut operator = Browser::new(&gateway);
    let path = link(&gateway, &[]).strip_prefix(&*operator.base).unwrap().to_owned();
    // A browser may call itself what it likes.
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let fields = [("email", "ops@example.com"), ("password", "correct horse battery")];
    let more = ["-H", "Sec-Fetch-Site: same-origin", "-A", evil];
    let answer = operator.post_as(&path, &fields, &more);
    operator.keep(&answer);
    let csrf = operator.csrf();
    for (path, field) in [
        ("/accounts", "name"),
        ("/people", "name"),
        ("/a/default/members", "email"),
        ("/a/default/routes/new", "domain"),
        ("/a/default/routes/new", "url"),
        ("/a/default/policy", "rules"),
        ("/a/default/alarms", "receiver"),
        ("/a/default/connect/test", "target"),
        ("/a/default/connect/credential", "name"),
        ("/a/default/credentials", "name"),
    ] {
        let answer =
            operator.post(path, &[("csrf", &csrf), ("role", "owner"), ("to", "web"), ("with", "curl"), (field, evil)]);
        assert!(!answer.body.contains("<script>alert") && !answer.body.contains("<img"), "{path}: {}", answer.body);
    }
    // A name that fits is kept, and shown wherever the credential is.
    let named = "<script>alert(1)</script>\"'><img src=x>";
    operator.post("/a/default/credentials", &[("csrf", &csrf), ("name", named)]);
    for path in ["", "/credentials", "/traffic", "/exposure"] {
        let page = operator.get(&format!("/a/default{path}")).body;
        assert!(path == "/exposure" || page.contains("&#60;img src=x&#62;"), "{path}: {page}");
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{path}: {page}");
    }
    for url in ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd"] {
        let fields = [("csrf", &*csrf), ("domain", "app.example.com"), ("url", url), ("mode", "terminate")];
        assert_eq!(operator.post("/a/default/routes/new", &fields).status, 400, "{url}");
    }
    let page = operator.get("/you").body;
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
    let asked = operator.get("/a/default/policy?ask=%3Cscript%3Ealert(1)%3C/script%3E").body;
    assert!(!asked.contains("<script>alert"), "{asked}");
}

#[test]
fn a_policy_is_tried_on_last_week_before_it_is_saved() {
    let gateway = gateway();
    let operator = Browser::invited(&gateway, &[], "ops@example.com");
    let csrf = operator.csrf();
    let credential = gateway.credential();
    let (kept, shut) = (Target::echo(), Target::echo());
    for _ in 0..2 {
        drop(Talk::tunnel(gateway.address("outbound_http"), &credential, &shut.address.to_string()).unwrap());
    }
    drop(Talk::tunnel(gateway.address("outbound_http"), &credential, &kept.address.to_string()).unwrap());
    let ask = |rules: &str| operator.post("/a/default/policy", &[("csrf", &csrf), ("rules", rules), ("try", "1")]);
    let rules = format!("# of a partner\ndeny {}", shut.address);
    let tried = eventually("the flows are recorded", || {
        Some(ask(&rules)).filter(|tried| tried.body.contains("3 flows looked at"))
    });
    let cell = |text: &str| format!("<td>{text}</td>");
    assert!(tried.body.contains(&(cell(&shut.address.to_string()) + &cell("2"))), "{}", tried.body);
    assert!(tried.body.contains("refused instead of let through"), "{}", tried.body);
    assert!(!tried.body.contains(&cell(&kept.address.to_string())), "{}", tried.body);
    assert!(tried.body.contains("# of a partner\n"), "what was typed is kept: {}", tried.body);
    assert!(ask("deny *.example.com").body.contains("None would have been decided otherwise"));
    assert!(gateway.cli(&["policy", "show", "default"]).contains("no rules"), "nothing is saved");
    assert_eq!(ask("permit all").status, 400);

    // And the other way: what was refused, and would not have been.
    gateway.cli(&["policy", "set", "default", "--deny", &shut.address.to_string()]);
    Talk::tunnel(gateway.address("outbound_http"), &credential, &shut.address.to_string()).err().unwrap();
    let freed = eventually("the refusal is recorded", || {
        Some(ask("")).filter(|tried| tried.body.contains("4 flows looked at"))
    });
    assert!(freed.body.contains("let through instead of refused"), "{}", freed.body);
}

#[test]
fn traffic_is_shown_of_everything_or_of_one_credential_or_domain() {
    let gateway = gateway();
    let viewer = Browser::invited(&gateway, &["--account", "default", "--role", "viewer"], "viv@example.com");
    let busy = gateway.credential();
    let target = Target::echo();
    let (open, shut) = (target.address.to_string(), "10.0.0.1:443");
    let another = |account: &str| {
        let made: serde_json::Value =
            serde_json::from_str(&gateway.cli(&["credential", "add", account, "--json"])).unwrap();
        made["username"].as_str().unwrap().to_owned()
    };
    for _ in 0..3 {
        drop(Talk::tunnel(gateway.address("outbound_http"), &busy, &open).unwrap());
    }
    for _ in 0..2 {
        Talk::tunnel(gateway.address("outbound_http"), &busy, shut).err().unwrap();
    }
    let quiet = another("default");
    let page = |span: &str, of: &str| viewer.get(&format!("/a/default/traffic?span={span}&of={of}"));
    let table = |answer: &Answer, name: &str| {
        let from = answer.body.split(&format!("aria-label=\"{name}, as a table\"")).nth(1);
        from.map(|text| text.split("</table>").next().unwrap().to_owned())
    };
    let of_busy = format!("credential%3A{}", busy.0);
    for span in ["hour", "day", "week", "month"] {
        for of in ["", &of_busy] {
            let seen = eventually("what came through", || {
                let answer = page(span, of);
                let whole = answer.body.matches(&format!("<code>{open}</code>")).count() == 3;
                Some(answer).filter(|answer| whole && table(answer, "Refusals by code").is_some())
            });
            let (requests, codes) = (table(&seen, "Requests").unwrap(), table(&seen, "Refusals by code").unwrap());
            assert_eq!(sums(&requests), [0, 3], "{span} {of}: {requests}");
            assert!(codes.contains("guard_denied") && sums(&codes) == [2], "{span} {of}: {codes}");
            assert!(table(&seen, "Latency: answered within").is_some(), "{span} {of}");
        }
        let other = page(span, &format!("credential%3A{}", quiet));
        assert!(other.status == 200 && !other.body.contains("as a table\""), "{span}: {}", other.body);
    }
    assert!(page("hour", "").body.contains("By the minute, from recorded flows"));
    assert!(!page("month", "").body.contains("recorded flows"), "it is of all that was counted");
    gateway.cli(&["account", "add", "other"]);
    let foreign = another("other");
    for nothing in ["route%3Aapp.example.com", "app.example.com", "mg_nobody", &foreign] {
        assert_eq!(page("day", nothing).status, 404, "{nothing}");
    }
}

/// What the columns of a table come to.
fn sums(table: &str) -> Vec<u64> {
    let rows = table.split("<tr>").skip(2).map(|row| {
        let cells = row.split("<td>").skip(2).map(|cell| cell.split('<').next().unwrap().parse().unwrap());
        cells.collect::<Vec<u64>>()
    });
    rows.reduce(|sums, row| sums.iter().zip(row).map(|(sum, cell)| sum + cell).collect()).unwrap_or_default()
}

#[test]
fn whoever_guesses_waits_and_learns_nothing_of_whom_there_is() {
    let gateway = gateway();
    drop(Browser::invited(&gateway, &[], "ops@example.com"));
    let mut stranger = Browser::new(&gateway);
    // One that somebody else has set beforehand is worth nothing.
    stranger.cookie = "moorgate=mgc_chosen".to_owned();
    let enter = |email: &str, password: &str, next: &str| {
        stranger.post("/sign-in", &[("email", email), ("password", password), ("next", next)])
    };
    let words =
        |answer: &Answer| answer.body.split("role=\"alert\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let (known, unknown) =
        (enter("ops@example.com", "wrong horse", ""), enter("nobody@example.com", "wrong horse", ""));
    assert_eq!((known.status, words(&known)), (unknown.status, words(&unknown)));
    for next in ["https://evil.example/", "//evil.example/", "/\\evil.example"] {
        let entered = enter("ops@example.com", "correct horse battery", next);
        assert!(entered.status == 303 && entered.head.contains("location: /\n"), "{next}: {}", entered.head);
        assert!(
            entered.head.contains("HttpOnly; SameSite=Lax") && !entered.head.contains("mgc_chosen"),
            "{}",
            entered.head
        );
    }
    // Many at once are many.
    let guesses = thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(|| enter("ops@example.com", "wrong horse", "").status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|status| *status == 401).count()
    });
    assert_eq!(guesses, 5);
    let waits = enter("ops@example.com", "correct horse battery", "");
    assert!(waits.status == 429 && words(&waits).starts_with("Too many tries. Wait 15 minutes"), "{}", waits.body);
    assert_eq!(enter("nobody@example.com", "wrong horse", "").status, 401, "others are let be");
    // Who was knocked at the door as is in the audit log, and from where; who is nobody is not.
    let refused = eventually("the audit log", || {
        let log = gateway.cli_json(&["audit", "list"]);
        let refused: Vec<Value> =
            log.as_array().unwrap().iter().filter(|entry| entry["action"] == "refuse sign-in").cloned().collect();
        (refused.len() == 6).then_some(refused)
    });
    assert!(
        refused.iter().all(|entry| entry["name"] == "ops@example.com" && entry["client"] == "127.0.0.1"),
        "{refused:?}"
    );
    assert!(gateway.stderr().contains("did not get into the console") || gateway.stdout().contains("did not get into"));
}

#[test]
fn whoever_comes_makes_an_account_where_that_is_allowed_and_only_there() {
    let closed = gateway();
    let stranger = Browser::new(&closed);
    let form = |account, email, password| [("account", account), ("email", email), ("password", password)];
    let good = form("acme", "ann@example.com", "correct horse battery");
    assert_eq!((stranger.get("/sign-up").status, stranger.post("/sign-up", &good).status), (404, 404));
    assert!(!stranger.get("/sign-in").body.contains("/sign-up"));

    let gateway = Setup::default().env("MOORGATE_CONSOLE_SIGN_UP", "true").start();
    let mut ann = Browser::new(&gateway);
    assert!(ann.get("/sign-in").body.contains("/sign-up"));
    for (bad, said) in [
        (form("Acme Inc", "ann@example.com", "correct horse battery"), "is no name for an account"),
        (form("default", "ann@example.com", "correct horse battery"), "there is already"),
        (form("acme", "nobody", "correct horse battery"), "is no email address"),
        (form("acme", "ann@example.com", "short"), "a password has 10 to 256 characters"),
    ] {
        let answer = ann.post("/sign-up", &bad);
        assert!(answer.status == 400 && answer.body.contains(said), "{said}: {}", answer.body);
    }
    assert!(!gateway.cli(&["account", "list"]).contains("acme"), "what came to nothing left nothing");
    let answer = ann.post("/sign-up", &good);
    assert_eq!(answer.status, 303, "{}", answer.body);
    ann.keep(&answer);
    assert!(ann.get("/a/acme/members").body.contains("owner"));
    assert_eq!((ann.get("/a/default").status, ann.get("/accounts").status), (404, 404));
}
