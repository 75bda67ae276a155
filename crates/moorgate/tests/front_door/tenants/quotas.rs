//! What a tier limits, and how whoever meets the limit is told.

use std::time::{Duration, Instant};

use super::{account, tier};
use crate::{
    gateway::{Gateway, eventually},
    talk::{self, Credential, Said, Talk},
    target::{Target, ok},
};

/// One request in absolute form.
fn ask(gateway: &Gateway, credential: &Credential, target: &Target) -> talk::Reply {
    let mut talk = Talk::to(gateway.address("outbound_http"));
    talk.send(talk::get(credential, &target.address.to_string(), "/", ""));
    talk.reply()
}

/// What is shown of the account `acme` when this is in it: a flow is counted after its client has gone.
fn shows(gateway: &Gateway, part: &str) -> String {
    eventually(part, || Some(gateway.cli(&["account", "show", "acme"])).filter(|shown| shown.contains(part)))
}

fn seconds(reply: &talk::Reply) -> u64 {
    reply.field("retry-after").expect("Retry-After").parse().unwrap()
}

#[test]
fn a_months_requests_are_spent_by_every_door_and_a_larger_tier_opens_them_again() {
    let gateway = Gateway::start();
    let target = Target::http(|_| ok("hi"));
    let name = target.address.to_string();
    let credential = account(&gateway, "acme", &["--requests-per-month", "3"]);
    let (http, socks) = (gateway.address("outbound_http"), gateway.address("outbound_socks"));
    assert_eq!(ask(&gateway, &credential, &target).status, 200);
    drop(Talk::tunnel(http, &credential, &name).expect("the second"));
    drop(talk::socks_tunnel(socks, &credential, &name).expect("the third"));

    let refused = ask(&gateway, &credential, &target);
    assert_eq!(refused.status, 429, "{refused:?}");
    // Until the month ends, from the first refusal on.
    let (now, utc) = (jiff::Timestamp::now(), jiff::tz::TimeZone::UTC);
    let next = utc.to_datetime(now).date().last_of_month().tomorrow().unwrap().at(0, 0, 0, 0);
    let left = utc.to_timestamp(next).unwrap().as_second() - now.as_second();
    assert!((left - 60..=left + 1).contains(&i64::try_from(seconds(&refused)).unwrap()), "{left}: {refused:?}");
    assert!(refused.body.contains("quota_spent") && refused.body.contains("account acme"), "{refused:?}");
    assert!(refused.field("proxy-status").is_some_and(|status| status.contains("quota_spent")), "{refused:?}");
    let tunnel = Talk::tunnel(http, &credential, &name).err().expect("a refusal");
    assert_eq!(tunnel.status, 429);
    assert_eq!(talk::socks_tunnel(socks, &credential, &name).err(), Some(Said::Reply(2)));
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "quota_spent");
    assert!(gateway.cli(&["why", flow["id"].as_str().unwrap()]).contains("larger tier"));

    let shown = shows(&gateway, "3 of 3 this month (100 %)");
    assert!(shown.contains("SPENT: more requests are refused until"), "{shown}");
    assert_eq!(gateway.cli_json(&["account", "show", "acme"])["quota"]["spent"]["requests"], 3);
    assert!(gateway.cli(&["account", "list"]).contains("TIER"));
    // Another account is not concerned.
    let other = account(&gateway, "other", &[]);
    assert_eq!(ask(&gateway, &other, &target).status, 200);

    tier(&gateway, "acme", &["--requests-per-month", "5"]);
    assert_eq!(ask(&gateway, &credential, &target).status, 200);
    let shown = shows(&gateway, "4 of 5 this month (80 %)");
    assert!(shown.contains("WARNING: nearly spent"), "{shown}");
    gateway.cli(&["account", "set", "acme", "--tier", ""]);
    assert!((0..3).all(|_| ask(&gateway, &credential, &target).status == 200));
    assert!(gateway.cli(&["account", "show", "acme"]).contains("no quotas"));
}

#[test]
fn a_tunnel_that_spends_the_months_bytes_is_cut_and_the_next_refused() {
    let gateway = Gateway::start();
    let target = Target::echo().address.to_string();
    let credential = account(&gateway, "acme", &["--bytes-per-month", "1MiB"]);
    let http = gateway.address("outbound_http");
    let mut tunnel = Talk::tunnel(http, &credential, &target).unwrap();
    // Until the gateway's next look, some more gets through.
    let cut = (0..1_000).find(|_| {
        tunnel.send([b'x'; 64 * 1024]);
        tunnel.take(64 * 1024).is_err()
    });
    assert!(cut.is_some_and(|pieces| pieces >= 8), "{cut:?}");
    let flow = gateway.wait_flow(|flow| flow["outcome"] == "over_quota");
    assert!(gateway.cli(&["why", flow["id"].as_str().unwrap()]).contains("larger tier"));
    let refused = Talk::tunnel(http, &credential, &target).err().expect("a refusal");
    assert!(refused.status == 429 && refused.body.contains("quota of 1 MiB per month"), "{refused:?}");
    assert!(shows(&gateway, "SPENT: more bytes").contains("of 1 MiB this month"));
}

#[test]
fn a_tunnel_is_as_fast_as_the_tier_says_and_without_a_tier_as_fast_as_it_can() {
    let gateway = Gateway::start();
    let target = Target::echo();
    let credential = account(&gateway, "acme", &["--bytes-per-second", "100KiB"]);
    assert!(gateway.cli(&["account", "show", "acme"]).contains("100 KiB a second"));
    // There and back; how long it took.
    let moves = |pieces: usize, size: usize| {
        let (name, piece) = (target.address.to_string(), vec![b'x'; size]);
        let mut tunnel = Talk::tunnel(gateway.address("outbound_http"), &credential, &name).expect("a tunnel");
        let began = Instant::now();
        for _ in 0..pieces {
            tunnel.send(&piece);
            assert!(tunnel.take(size).unwrap() == piece);
        }
        began.elapsed()
    };
    // 320 KiB, of which what a part of a second is worth may have been saved up.
    let took = moves(10, 16 * 1024);
    assert!(took > Duration::from_millis(2_500), "{took:?}");
    gateway.cli(&["account", "set", "acme", "--tier", ""]);
    // At the old rate, 160 s.
    let took = moves(64, 128 * 1024);
    assert!(took < Duration::from_secs(80), "{took:?}");
}

#[test]
fn what_was_spent_stays_spent_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || crate::gateway::Setup::default().data_dir(directory.path()).start();
    let target = Target::http(|_| ok("hi"));
    let mut gateway = start();
    let credential = account(&gateway, "acme", &["--requests-per-month", "2"]);
    assert!((0..2).all(|_| ask(&gateway, &credential, &target).status == 200));
    gateway.signal("TERM");
    gateway.wait();
    drop(gateway);
    let gateway = start();
    // What was spent is read from the store beside the start: a request that comes first may be let through.
    eventually("the quota", || (ask(&gateway, &credential, &target).status == 429).then_some(()));
    shows(&gateway, "SPENT");
}

#[test]
fn more_requests_in_a_second_than_the_tier_allows_are_told_to_come_again_soon() {
    let gateway = Gateway::start();
    let target = Target::http(|_| ok("hi"));
    let credential = account(&gateway, "acme", &["--requests-per-second", "1"]);
    // However slow this machine is, not each of them takes a second.
    let replies: Vec<_> = (0..20).map(|_| ask(&gateway, &credential, &target)).collect();
    assert_eq!(replies[0].status, 200);
    let refused = replies.iter().find(|reply| reply.status != 200).expect("a refusal");
    assert_eq!((refused.status, seconds(refused)), (429, 1), "{refused:?}");
    assert!(refused.body.contains("quota_spent"), "{refused:?}");
    eventually("a new second", || (ask(&gateway, &credential, &target).status == 200).then_some(()));
}

#[test]
fn no_more_tunnels_are_open_at_once_than_the_tier_allows() {
    let gateway = Gateway::start();
    let target = Target::echo();
    let name = target.address.to_string();
    let credential = account(&gateway, "acme", &["--tunnels", "2"]);
    let (http, socks) = (gateway.address("outbound_http"), gateway.address("outbound_socks"));
    let first = Talk::tunnel(http, &credential, &name).unwrap();
    let second = talk::socks_tunnel(socks, &credential, &name).unwrap();
    let refused = Talk::tunnel(http, &credential, &name).err().expect("a refusal");
    assert_eq!((refused.status, seconds(&refused)), (429, 1), "{refused:?}");
    assert!(refused.body.contains("2 tunnels and requests open"), "{refused:?}");
    assert_eq!(talk::socks_tunnel(socks, &credential, &name).err(), Some(Said::Reply(2)));
    drop(first);
    let third = eventually("a place", || Talk::tunnel(http, &credential, &name).ok());
    drop((second, third));
}

#[test]
fn a_tier_says_what_it_limits_and_goes_only_when_nobody_has_it() {
    let gateway = Gateway::start();
    assert!(gateway.cli(&["tier", "list"]).contains("no tiers yet"));
    let made = gateway.cli(&["tier", "set", "gold", "--bytes-per-month", "20GiB", "--grace", "10"]);
    assert!(made.contains("20 GiB a month; all else is unlimited") && made.contains("--tier gold"), "{made}");
    gateway.cli(&["account", "set", "default", "--tier", "gold"]);
    let listed = gateway.cli(&["tier", "list"]);
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    assert!(listed.contains("20 GiB") && listed.contains("10 %"), "{listed}");
    assert_eq!(gateway.cli_json(&["tier", "list"])[0]["quotas"]["bytes_per_month"], 20_u64 << 30);
    let refused = gateway.try_cli(&["tier", "remove", "gold"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("give it another first"), "{refused:?}");
    gateway.cli(&["account", "set", "default", "--tier", ""]);
    gateway.cli(&["tier", "remove", "gold"]);
    let unknown = gateway.try_cli(&["account", "set", "default", "--tier", "gold"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("moorgate tier list"), "{unknown:?}");
}
