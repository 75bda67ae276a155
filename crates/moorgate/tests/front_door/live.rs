//! Changes on live traffic: what an operator changes holds for new connections within a second, cuts what it must cut and
//! nothing else, and is still so after a restart.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    doors::{Destination, Door, Doors, Early, End, Refused, Side},
    gateway::{Gateway, Setup, eventually, raise_descriptors},
    talk::{self, Credential, Talk, api},
    target::{Target, ok},
};

/// Within which a change must have reached traffic.
const SECOND: Duration = Duration::from_secs(1);

fn credential(added: &Value) -> Credential {
    ["username", "password"].map(|name| added[name].as_str().unwrap().to_owned()).into()
}

fn new_credential(gateway: &Gateway, account: &str) -> Credential {
    credential(&gateway.cli_json(&["credential", "add", account]))
}

/// The account's one credential.
fn new_account(gateway: &Gateway, name: &str) -> Credential {
    gateway.cli(&["account", "add", name]);
    new_credential(gateway, name)
}

fn json_flows() -> Setup {
    Setup::default().env("MOORGATE_LOG_FORMAT", "json")
}

/// Whether bytes still go both ways through a tunnel to an echo.
async fn lives(tunnel: &mut Side) -> bool {
    let whole = async {
        tunnel.writer.write_all(b"alive?").await?;
        tunnel.reader.exactly(6).await
    };
    matches!(timeout(Duration::from_secs(10), whole).await, Ok(Ok(bytes)) if bytes == b"alive?")
}

/// Waits for a tunnel's end, which must come before `end` and must not look like a good one.
async fn is_cut_by(tunnel: &mut Side, end: Instant, what: &str) {
    let rest = end.saturating_duration_since(Instant::now());
    let ended = timeout(rest, tunnel.reader.read(&mut [0; 16])).await;
    match ended {
        Err(_) => panic!("{what}: not cut within a second"),
        Ok(Err(End::Reset | End::Truncated)) => {}
        Ok(other) => panic!("{what}: {other:?} instead of a cut"),
    }
}

/// How a door says that a credential is not (or no longer) one. SOCKS says it before there is a reply.
async fn is_shut(doors: &Doors, door: Door, target: &str) -> bool {
    if door.is_socks() {
        let (user, wire) = (doors.clone(), doors.wire(door).await.unwrap());
        return socks_auth_fails(&user, wire).await;
    }
    matches!(doors.open(door, target).await, Err(Refused::Http(407, code)) if code == "credentials_wrong")
}

async fn socks_auth_fails(doors: &Doors, mut wire: crate::doors::Wire) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let [greeting, password, _] = doors.socks_messages("127.0.0.1:9");
    wire.stream.write_all(&[greeting, password].concat()).await.unwrap();
    wire.stream.flush().await.unwrap();
    let mut answer = [0; 4];
    wire.stream.read_exact(&mut answer).await.unwrap();
    answer == [5, 2, 1, 1]
}

/// Tries until it is so, for a second at most.
async fn within_a_second<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let end = Instant::now() + SECOND;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}: not within a second");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_credentials_idle_tunnels_are_cut_within_a_second_through_every_door_and_nobody_elses() {
    let gateway = json_flows().start();
    let doors = Doors::of(&gateway);
    let target = Destination::bind().await.echo().to_string();
    let (leaves, stays) = (new_credential(&gateway, "default"), new_credential(&gateway, "default"));
    let (leaving, staying) = (doors.with_credential(&leaves), doors.with_credential(&stays));
    let mut cut = Vec::new();
    let mut kept = Vec::new();
    for door in Door::ALL {
        cut.push((door, leaving.open(door, &target).await.unwrap()));
        kept.push((door, staying.open(door, &target).await.unwrap()));
    }
    // Several streams of one h2 connection; another connection with another credential to the same port.
    let (h2, other_h2) = (leaving.h2().await.unwrap(), staying.h2().await.unwrap());
    for _ in 0..3 {
        cut.push((Door::HttpsH2, h2.open(&target, Early::default()).await.unwrap()));
        kept.push((Door::HttpsH2, other_h2.open(&target, Early::default()).await.unwrap()));
    }
    for (door, tunnel) in cut.iter_mut().chain(&mut kept) {
        assert!(lives(tunnel).await, "{door:?}");
    }

    gateway.cli(&["credential", "revoke", "default", &leaves.0]);
    let end = Instant::now() + SECOND;
    let count = cut.len();
    for (door, mut tunnel) in cut {
        is_cut_by(&mut tunnel, end, &format!("{door:?}")).await;
    }
    for (door, tunnel) in &mut kept {
        assert!(lives(tunnel).await, "{door:?} of another credential");
    }
    for door in Door::ALL {
        assert!(is_shut(&leaving, door, &target).await, "{door:?}");
    }
    let revoked = |flow: &&Value| flow["outcome"] == "revoked" && flow["username"] == leaves.0;
    eventually("the flows", || (gateway.flows().iter().filter(revoked).count() == count).then_some(()));
    assert_eq!(talk::metric(&gateway, "moorgate_flows_total", &["outcome=\"revoked\""]), count as u64);
    assert_eq!(
        gateway.flows().iter().filter(|flow| flow["username"] == stays.0).count(),
        0,
        "none of the others ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_credentials_requests_are_cut_within_their_bodies_and_its_kept_connections_ask_in_vain() {
    let gateway = Gateway::start();
    let leaves = new_credential(&gateway, "default");
    let endless = Target::new("127.0.0.1:0", |mut conn| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nonly this");
        std::mem::forget(conn.stream);
    });
    let silent = Target::new("127.0.0.1:0", |conn| std::mem::forget(conn.stream));
    let quick = Target::http(|_| ok("fine"));
    let begin = |target: &Target| {
        let mut talk = Talk::to(gateway.address("outbound_http"));
        talk.send(talk::get(&leaves, &target.address.to_string(), "/", ""));
        talk
    };
    let mut within = begin(&endless);
    assert_eq!(within.reply_without_body().status, 200);
    let (mut waiting, mut kept) = (begin(&silent), begin(&quick));
    assert_eq!(kept.reply().body, "fine");
    // Connected, and its head held back for a first chunk that does not come.
    let mut begun = Talk::to(gateway.address("outbound_http"));
    let chunked = talk::get(&leaves, &silent.address.to_string(), "/", "Transfer-Encoding: chunked\r\n");
    begun.send(chunked.replacen("GET", "POST", 1));
    eventually("the requests", || (silent.seen().peers.len() == 2).then_some(()));

    gateway.cli(&["credential", "revoke", "default", &leaves.0]);
    let revoked = Instant::now();
    for talk in [&mut within, &mut waiting, &mut begun] {
        assert_eq!(talk.rest().1, talk::End::Reset);
    }
    assert!(revoked.elapsed() < SECOND, "{:?}", revoked.elapsed());
    kept.send(talk::get(&leaves, &quick.address.to_string(), "/", ""));
    assert_eq!(kept.reply().status, 407);
    assert_eq!(quick.seen().requests.len(), 1);
    let cut = |flow: &&Value| flow["outcome"] == "revoked" && flow["kind"] == "exchange";
    eventually("three flows", || (gateway.flows().iter().filter(cut).count() == 3).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_accounts_tunnels_are_cut_and_its_neighbours_are_not() {
    let gateway = Gateway::start();
    let doors = Doors::of(&gateway);
    let target = Destination::bind().await.echo().to_string();
    let acme = doors.with_credential(&new_account(&gateway, "acme"));
    let (mut cut, mut kept) = (Vec::new(), Vec::new());
    for door in Door::ALL {
        cut.push(acme.open(door, &target).await.unwrap());
        kept.push(doors.open(door, &target).await.unwrap());
    }
    assert_eq!(gateway.cli_json(&["account", "show", "acme"])["open"], 5);
    let (status, _) = api(&gateway, "DELETE", "/api/v1/accounts/acme", None);
    let end = Instant::now() + SECOND;
    assert_eq!(status, 204);
    for (door, mut tunnel) in Door::ALL.into_iter().zip(cut) {
        is_cut_by(&mut tunnel, end, &format!("{door:?}")).await;
        assert!(is_shut(&acme, door, &target).await);
    }
    for tunnel in &mut kept {
        assert!(lives(tunnel).await);
    }
    let revoked = |flow: &&Value| flow["outcome"] == "revoked" && flow["account"] == "acme";
    eventually("the flows", || (gateway.flows().iter().filter(revoked).count() == 5).then_some(()));
    // Its name is free, and what it had does not come back with it.
    gateway.cli(&["account", "add", "acme"]);
    assert!(is_shut(&acme, Door::Http, &target).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_works_for_its_overlap_and_its_tunnels_end_with_it_although_nothing_else_happens() {
    let gateway = Gateway::start();
    let doors = Doors::of(&gateway);
    let target = Destination::bind().await.echo().to_string();
    let before = new_credential(&gateway, "default");
    let old = doors.with_credential(&before);
    let mut cut: Vec<Side> = Vec::new();
    for door in Door::ALL {
        cut.push(old.open(door, &target).await.unwrap());
    }
    let after = credential(&gateway.cli_json(&["credential", "rotate", "default", &before.0, "--overlap", "3s"]));
    let rotated = Instant::now();
    assert!(after.0 == before.0 && after.1 != before.1);
    let new = doors.with_credential(&after);
    let mut kept: Vec<Side> = Vec::new();
    for door in [Door::Http, Door::SocksTls] {
        kept.push(new.open(door, &target).await.unwrap());
        cut.push(old.open(door, &target).await.unwrap());
    }
    for tunnel in cut.iter_mut().chain(&mut kept) {
        assert!(lives(tunnel).await, "during the overlap");
    }
    assert!(rotated.elapsed() < Duration::from_secs(3), "this machine is too slow for this test");
    for mut tunnel in cut {
        // The overlap began with the command, a moment before it returned.
        is_cut_by(&mut tunnel, rotated + Duration::from_secs(4), "the old password's tunnel").await;
        assert!(rotated.elapsed() > Duration::from_secs(2), "cut too early");
    }
    assert!(is_shut(&old, Door::Http, &target).await && is_shut(&old, Door::Socks, &target).await);
    for tunnel in &mut kept {
        assert!(lives(tunnel).await, "the new password's");
    }

    // Without an overlap the old one ends at once.
    let last = credential(&gateway.cli_json(&["credential", "rotate", "default", &before.0]));
    let end = Instant::now() + SECOND;
    for mut tunnel in kept {
        is_cut_by(&mut tunnel, end, "without an overlap").await;
    }
    assert!(is_shut(&new, Door::Http, &target).await);
    let mut tunnel = doors.with_credential(&last).open(Door::Http, &target).await.unwrap();
    assert!(lives(&mut tunnel).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_policy_holds_for_new_connections_and_cuts_open_ones_only_when_told_to() {
    let gateway = Gateway::start();
    let doors = Doors::of(&gateway);
    let [denied, allowed] =
        [Destination::bind().await.echo(), Destination::bind().await.echo()].map(|address| address.to_string());
    let other = doors.with_credential(&new_account(&gateway, "other"));
    let mut to_denied = Vec::new();
    let mut kept = Vec::new();
    for door in Door::ALL {
        to_denied.push(doors.open(door, &denied).await.unwrap());
        kept.push(doors.open(door, &allowed).await.unwrap());
        kept.push(other.open(door, &denied).await.unwrap());
    }
    let shut = async |doors: &Doors| match doors.open(Door::Http, &denied).await {
        Err(Refused::Http(403, code)) => code == "policy_denied",
        _ => false,
    };

    let said = gateway.cli(&["policy", "set", "default", "--deny", &denied, "--dry-run"]);
    assert!(said.contains("dry run"), "{said}");
    assert!(!shut(&doors).await, "a dry run changes nothing");

    gateway.cli(&["policy", "set", "default", "--deny", &denied]);
    within_a_second("the new rule", || shut(&doors)).await;
    assert_eq!(doors.open(Door::SocksTls, &denied).await.err(), Some(Refused::Socks(2)));
    tokio::time::sleep(SECOND).await;
    for tunnel in to_denied.iter_mut().chain(&mut kept) {
        assert!(lives(tunnel).await, "an edit without --cut");
    }

    gateway.cli(&["policy", "set", "default", "--deny", &denied, "--cut"]);
    let end = Instant::now() + SECOND;
    for (door, mut tunnel) in Door::ALL.into_iter().zip(to_denied) {
        is_cut_by(&mut tunnel, end, &format!("{door:?}, --cut")).await;
    }
    for tunnel in &mut kept {
        assert!(lives(tunnel).await, "what the rules allow, and another account's");
    }

    // With any allow rule, what no rule matches is refused.
    gateway.cli(&["policy", "set", "default", "--allow", &denied, "--cut"]);
    let end = Instant::now() + SECOND;
    for (n, mut tunnel) in kept.into_iter().enumerate() {
        if n % 2 == 0 {
            is_cut_by(&mut tunnel, end, "not among the allowed").await;
        } else {
            assert!(lives(&mut tunnel).await, "another account's");
        }
    }
    doors.open(Door::Http, &denied).await.unwrap();
    let refused = doors.open(Door::Http, &allowed).await.err();
    assert_eq!(refused, Some(Refused::Http(403, "policy_denied".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_is_so_after_a_restart_and_after_a_kill() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let target = Destination::bind().await.echo().to_string();
    let start = || Setup::default().data_dir(&data).start();

    let mut gateway = start();
    let acme = new_account(&gateway, "acme");
    new_account(&gateway, "gone");
    let revoked = new_credential(&gateway, "acme");
    let tokens: Vec<Value> = (0..2).map(|_| gateway.cli_json(&["token", "add", "acme", "--scope", "read"])).collect();
    let token = |n: usize, name: &str| tokens[n][name].as_str().unwrap().to_owned();
    gateway.cli(&["policy", "set", "acme", "--deny", "127.0.0.66", "--deny", "*.example.com:443"]);
    for (round, signal) in ["KILL", "TERM", "KILL"].into_iter().enumerate() {
        // The last change right before the end.
        match round {
            0 => drop(gateway.cli(&["credential", "revoke", "acme", &revoked.0])),
            1 => drop(gateway.cli(&["account", "remove", "gone"])),
            _ => drop(gateway.cli(&["token", "revoke", &token(1, "id")])),
        }
        gateway.signal(signal);
        gateway.wait();
        drop(gateway);
        gateway = start();

        let doors = Doors::of(&gateway);
        let mut tunnel = doors.with_credential(&acme).open(Door::Http, &target).await.unwrap();
        assert!(lives(&mut tunnel).await && lives(&mut doors.open(Door::Socks, &target).await.unwrap()).await);
        assert!(is_shut(&doors.with_credential(&revoked), Door::Http, &target).await);
        let refused = doors.with_credential(&acme).open(Door::Http, "127.0.0.66:80").await.err();
        assert_eq!(refused, Some(Refused::Http(403, "policy_denied".into())));
        let names = |listed: &Value| -> Vec<String> {
            listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
        };
        let accounts = names(&gateway.cli_json(&["account", "list"]));
        assert_eq!(accounts.contains(&"gone".to_owned()), round == 0, "{accounts:?}");
        let policy = gateway.cli_json(&["policy", "show", "acme"]);
        assert_eq!(policy["rules"].as_array().unwrap().len(), 2, "{policy}");
        assert_eq!(talk::api_as(&gateway, &token(0, "token"), "GET", "/api/v1/accounts/acme", None).0, 200);
        assert_eq!(talk::api_as(&gateway, &token(0, "token"), "GET", "/api/v1/accounts/default", None).0, 404);
        let second = if round < 2 { 200 } else { 401 };
        assert_eq!(talk::api_as(&gateway, &token(1, "token"), "GET", "/api/v1/accounts/acme", None).0, second);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_be_changed_through_the_api_and_is_served_when_it_answers() {
    let gateway = Gateway::start();
    let doors = Doors::of(&gateway);
    let target = Destination::bind().await.echo().to_string();
    let call = |method: &str, path: &str, body: Option<Value>| {
        let (status, text) = api(&gateway, method, path, body.as_ref());
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str::<Value>(&text).unwrap_or_default()
    };
    call("POST", "/api/v1/accounts", Some(json!({"name": "acme"})));
    let first = credential(&call("POST", "/api/v1/accounts/acme/credentials", None));
    let acme = doors.with_credential(&first);
    let mut tunnel = acme.open(Door::Http, &target).await.unwrap();
    let rules = json!({"rules": [{"effect": "deny", "match": target}]});
    call("PUT", "/api/v1/accounts/acme/policy", Some(rules));
    assert_eq!(acme.open(Door::Http, &target).await.err(), Some(Refused::Http(403, "policy_denied".into())));
    assert!(lives(&mut tunnel).await);
    call("PUT", "/api/v1/accounts/acme/policy", Some(json!({"rules": []})));
    drop(acme.open(Door::Http, &target).await.unwrap());
    let path = format!("/api/v1/accounts/acme/credentials/{}", first.0);
    let second = credential(&call("POST", &format!("{path}/rotate"), Some(json!({"overlap_seconds": 60}))));
    let rotated = doors.with_credential(&second);
    drop((acme.open(Door::Http, &target).await.unwrap(), rotated.open(Door::Http, &target).await.unwrap()));
    call("DELETE", &path, None);
    assert!(is_shut(&acme, Door::Http, &target).await && is_shut(&rotated, Door::Http, &target).await);
    is_cut_by(&mut tunnel, Instant::now() + SECOND, "revoked through the API").await;
    // An account's own token can do it too; a reading one can't.
    let token = |scope: &str| {
        call("POST", "/api/v1/tokens", Some(json!({"account": "acme", "scope": scope})))["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (reads, writes) = (token("read"), token("write"));
    assert_eq!(talk::api_as(&gateway, &reads, "POST", "/api/v1/accounts/acme/credentials", None).0, 403);
    let (status, added) = talk::api_as(&gateway, &writes, "POST", "/api/v1/accounts/acme/credentials", None);
    assert_eq!(status, 201);
    let third = doors.with_credential(&credential(&serde_json::from_str(&added).unwrap()));
    drop(third.open(Door::HttpsH2, &target).await.unwrap());
}

/// Resident memory, in KiB.
fn resident(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(gateway.pid().to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_edits_close_none_of_a_thousand_tunnels_and_take_no_memory() {
    const TUNNELS: usize = 1_000;
    const EDITS: usize = 500;
    raise_descriptors();
    let gateway = Gateway::start();
    let doors = Doors::of(&gateway);
    let target = Destination::bind().await.echo().to_string();
    let h2 = doors.h2().await.unwrap();
    let mut tunnels = Vec::new();
    for n in 0..TUNNELS {
        let tunnel = match n % 4 {
            0 => doors.open(Door::Http, &target).await,
            1 => doors.open(Door::Socks, &target).await,
            2 => h2.open(&target, Early::default()).await,
            _ => doors.open(if n % 8 == 3 { Door::HttpsH1 } else { Door::SocksTls }, &target).await,
        };
        tunnels.push(tunnel.unwrap());
    }
    gateway.cli(&["account", "add", "busy"]);
    let edit = |n: usize| {
        let call = |method: &str, path: &str, body: Option<Value>| {
            let (status, text) = api(&gateway, method, path, body.as_ref());
            assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
            serde_json::from_str::<Value>(&text).unwrap_or_default()
        };
        match n % 5 {
            0 => drop(call(
                "PUT",
                "/api/v1/accounts/busy/policy",
                Some(json!({"rules": [{"effect": "deny", "match": format!("a{n}.test")}]})),
            )),
            1 => drop(call(
                "PUT",
                "/api/v1/accounts/default/policy",
                Some(json!({"rules": [{"effect": "deny", "match": format!("10.0.0.{}", n % 250)}]})),
            )),
            2 => {
                let added = call("POST", "/api/v1/accounts/busy/credentials", None);
                call(
                    "DELETE",
                    &format!("/api/v1/accounts/busy/credentials/{}", added["username"].as_str().unwrap()),
                    None,
                );
            }
            3 => {
                call("POST", "/api/v1/accounts", Some(json!({"name": format!("temporary-{n}")})));
                call("DELETE", &format!("/api/v1/accounts/temporary-{n}"), None);
            }
            _ => {
                let added = call("POST", "/api/v1/tokens", Some(json!({"account": "busy"})));
                call("DELETE", &format!("/api/v1/tokens/{}", added["id"].as_str().unwrap()), None);
            }
        }
    };
    // What is taken once (pools, caches of the store) is taken now.
    (0..100).for_each(edit);
    let before = resident(&gateway);
    (100..100 + EDITS).for_each(edit);
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more after {EDITS} edits; {before} KiB before");
    for (n, tunnel) in tunnels.iter_mut().enumerate() {
        assert!(lives(tunnel).await, "tunnel {n}");
    }
    assert_eq!(gateway.cli_json(&["account", "show", "default"])["open"], TUNNELS);
}
