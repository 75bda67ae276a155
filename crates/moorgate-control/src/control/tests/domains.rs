//! Domains whose DNS is somewhere, and claims that compete for them: with a resolver that says what the test likes.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{self, CNAME},
    },
};
use moorgate_contract::route::Mode;
use serde_json::json;

use super::trouble::sql;
use crate::{
    Control, ControlError, DnsState, Invalid, RouteState, RouteView, ZoneSettings,
    testing::{House, Made, change, until},
};

const ZONE: &str = "edge.example.net";
const APP: &str = "app.example.com";
const TXT: &str = "_moorgate-challenge.app.example.com";
/// In microseconds.
const DAY: u64 = 24 * 3_600 * 1_000_000;

/// Knows a CNAME or TXT record of some names, and that there are no others.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<HashMap<String, String>>>);

impl Known {
    fn start() -> (Self, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (known, address) = (Self::default(), socket.local_addr().unwrap());
        let answering = known.clone();
        thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((size, from)) = socket.recv_from(&mut packet) {
                let Ok(asked) = Message::from_vec(&packet[..size]) else { continue };
                if let Some(said) = answering.reply(asked) {
                    let _ = socket.send_to(&said.to_vec().unwrap(), from);
                }
            }
        });
        (known, address)
    }

    fn set(&self, name: &str, value: &str) {
        self.0.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn reply(&self, asked: Message) -> Option<Message> {
        let query = asked.queries[0].clone();
        let name = query.name().to_ascii().trim_end_matches('.').to_owned();
        let known = self.0.lock().unwrap().get(&name).cloned();
        let mut said = asked.into_response();
        if known.as_deref() == Some("SERVFAIL") {
            said.metadata.response_code = ResponseCode::ServFail;
            return Some(said);
        }
        let data = match (known, query.query_type()) {
            (Some(value), RecordType::TXT) if name == TXT => RData::TXT(rdata::TXT::new(vec![value])),
            (Some(value), _) if name != TXT => RData::CNAME(CNAME(Name::from_ascii(format!("{value}.")).unwrap())),
            (Some(_), _) => return Some(said),
            (None, _) => {
                said.metadata.response_code = ResponseCode::NXDomain;
                return Some(said);
            }
        };
        said.add_answer(Record::from_rdata(query.name().clone(), 1, data));
        Some(said)
    }
}

async fn add(control: &Control, account: &str) -> Result<RouteView, ControlError> {
    let to = change(json!({ "origins": [{ "url": "http://192.0.2.7:1" }] }));
    control.add_route(Some(account), APP, Mode::Terminate, to).await
}

fn house(resolvers: &[SocketAddr]) -> House {
    let zone = ZoneSettings {
        name: ZONE.parse().unwrap(),
        addresses: vec!["203.0.113.10".parse().unwrap()],
        resolvers: resolvers.to_vec(),
    };
    House { zone: Some(zone), ..House::new() }
}

fn is_served(house: &House) -> bool {
    house.plane.served().routes().any(|route| route.domain.to_string() == APP)
}

/// Waits until what is known of the domain is `dns`.
async fn wait(control: &Control, dns: DnsState) -> RouteView {
    let known = || control.inner.book().route(APP).map(|row| row.dns);
    until(|| known() == Some(dns)).await;
    control.route(APP).await.unwrap()
}

/// What was known of the domain is so many days old.
async fn make_older(house: &House, days: u64) {
    sql(house, &format!("UPDATE route SET dns_since = dns_since - {}", days * DAY)).await;
}

#[tokio::test]
async fn a_domain_that_leaves_is_flagged_then_released_and_proved_anew_by_another_record_only() {
    let (known, resolver) = Known::start();
    let house = house(&[resolver]);
    let (control, _) = house.open().await.unwrap();
    let target = add(&control, "default").await.unwrap().cname.unwrap();
    assert!(!is_served(&house));
    let unwell = |state, dns| vec![(APP.to_owned(), state, dns)];
    assert_eq!(control.unwell("default", 9).routes, unwell(RouteState::Pending, DnsState::Pending));
    assert!(control.unwell("default", 0).routes.is_empty() && control.unwell("nobody", 9).routes.is_empty());
    known.set(APP, &target);
    assert_eq!(wait(&control, DnsState::Seen).await.state, RouteState::Active);
    assert!(is_served(&house) && control.unwell("default", 9).routes.is_empty());

    // A resolver that can't say decides nothing; one that says otherwise does.
    known.set(APP, "SERVFAIL");
    control.check_route(APP).await.unwrap();
    assert_eq!(control.route(APP).await.unwrap().dns, Some(DnsState::Seen));
    known.clear();
    let check = control.check_route(APP).await.unwrap();
    assert_eq!((check.dns, check.state), (DnsState::Missing, RouteState::Active));
    assert_eq!(control.unwell("default", 9).routes, unwell(RouteState::Active, DnsState::Missing));
    assert!(is_served(&house), "nobody is cut off by a mistake in DNS");
    control.close().await;

    make_older(&house, 6).await;
    let (control, _) = house.open().await.unwrap();
    assert!(is_served(&house));
    control.check_route(APP).await.unwrap();
    assert_eq!(control.route(APP).await.unwrap().dns, Some(DnsState::Missing));
    control.close().await;
    make_older(&house, 1).await;
    let (control, _) = house.open().await.unwrap();
    let released = wait(&control, DnsState::Released).await;
    assert_eq!(released.state, RouteState::Released);
    assert!(!is_served(&house));
    let fresh = released.cname.unwrap();
    assert_ne!(fresh, target);
    // The old record proves nothing any more, to nobody.
    known.set(APP, &target);
    assert_eq!(control.check_route(APP).await.unwrap().dns, DnsState::Released);
    known.set(APP, &fresh);
    assert_eq!(control.check_route(APP).await.unwrap().dns, DnsState::Seen);
    assert!(is_served(&house));
    control.close().await;
}

#[tokio::test]
async fn a_released_domain_may_be_claimed_by_anybody_and_one_that_is_missing_by_who_proves_it() {
    let (known, resolver) = Known::start();
    let house = house(&[resolver]);
    let (control, _) = house.open().await.unwrap();
    control.add_account("other").await.unwrap();
    let target = add(&control, "default").await.unwrap().cname.unwrap();
    known.set(APP, &target);
    wait(&control, DnsState::Seen).await;
    let taken = add(&control, "other").await.unwrap_err();
    assert!(matches!(taken, ControlError::Exists { .. }), "{taken}");

    known.clear();
    control.check_route(APP).await.unwrap();
    let held = add(&control, "other").await.unwrap_err();
    let ControlError::Invalid(Invalid::Held { record, .. }) = &held else { panic!("{held}") };
    let word = record.split('"').nth(1).unwrap().to_owned();
    known.set(TXT, "another word");
    assert!(add(&control, "other").await.is_err());
    known.set(TXT, &word);
    let claimed = add(&control, "other").await.unwrap();
    assert_eq!((&*claimed.account, claimed.dns), ("other", Some(DnsState::Pending)));
    assert!(!is_served(&house), "it is neither's until its DNS is here");
    // What proved that once proves no other claim.
    let again = add(&control, "default").await.unwrap_err();
    let ControlError::Invalid(Invalid::Held { record, .. }) = &again else { panic!("{again}") };
    assert!(!record.contains(&word), "{record}");
    control.close().await;

    make_older(&house, 8).await;
    let (control, _) = house.open().await.unwrap();
    wait(&control, DnsState::Released).await;
    let claimed = add(&control, "default").await.unwrap();
    assert_eq!((&*claimed.account, claimed.dns), ("default", Some(DnsState::Pending)));
    control.close().await;
}

#[tokio::test]
async fn all_resolvers_that_answer_must_see_it() {
    let ((one, first), (two, second)) = (Known::start(), Known::start());
    let house = house(&[first, second]);
    let (control, _) = house.open().await.unwrap();
    let target = add(&control, "default").await.unwrap().cname.unwrap();
    one.set(APP, &target);
    two.set(APP, "elsewhere.example.org");
    let check = control.check_route(APP).await.unwrap();
    assert_eq!(check.dns, DnsState::Pending);
    let said = &check.findings[0].said;
    assert!(said.contains("is on its way here") && said.contains("still says elsewhere.example.org"), "{said}");
    two.set(APP, "SERVFAIL");
    assert_eq!(control.check_route(APP).await.unwrap().dns, DnsState::Seen);
    control.close().await;
}

#[tokio::test]
async fn routes_that_are_older_than_the_zone_are_served_and_never_released() {
    let (_known, resolver) = Known::start();
    let mut house = house(&[resolver]);
    let zone = house.zone.take();
    let (control, _) = house.open().await.unwrap();
    let route = add(&control, "default").await.unwrap();
    assert_eq!((route.state, route.cname, route.dns), (RouteState::Active, None, None));
    let none = control.check_route(APP).await.unwrap_err();
    assert!(none.to_string().contains("[dns] zone"), "{none}");
    control.close().await;
    make_older(&house, 30).await;
    house.zone = zone;
    let (control, _) = house.open().await.unwrap();
    control.check_route(APP).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let route = control.route(APP).await.unwrap();
    assert_eq!((route.state, route.dns), (RouteState::Active, Some(DnsState::Unchecked)));
    assert!(is_served(&house) && route.cname.is_some());
    control.close().await;
}

#[tokio::test]
async fn what_nobody_has_proved_stands_in_no_ones_way() {
    let (known, resolver) = Known::start();
    let house = house(&[resolver]);
    let (control, _) = house.open().await.unwrap();
    control.add_account("other").await.unwrap();
    let to = || change(json!({ "origins": [{ "url": "http://192.0.2.7:1" }] }));
    // A wildcard that is claimed, and a certificate that anybody can make.
    let wildcard = control.add_route(Some("other"), "*.example.com", Mode::Terminate, to()).await.unwrap();
    let mine = add(&control, "default").await.unwrap();
    control.remove_route(APP).await.unwrap();
    let theirs = add(&control, "other").await.unwrap();
    let made = Made::of(&[APP]);
    control.add_certificate(Some("other"), APP, made.chain.as_bytes(), made.key.as_bytes()).await.unwrap();
    let held = add(&control, "default").await.unwrap_err();
    let ControlError::Invalid(Invalid::Held { record, .. }) = &held else { panic!("{held}") };
    known.set(TXT, record.split('"').nth(1).unwrap());
    let taken = add(&control, "default").await.unwrap();
    assert_eq!(taken.account, "default");
    assert!(taken.cname != mine.cname && taken.cname != theirs.cname);
    assert!(control.list_certificates(Some("other")).await.is_empty());
    // Once the wildcard is proved, what it stands for is its account's.
    control.remove_route(APP).await.unwrap();
    known.set("*.example.com", &wildcard.cname.unwrap());
    control.check_route("*.example.com").await.unwrap();
    let refused = add(&control, "default").await.unwrap_err();
    assert_eq!(refused.to_string(), "app.example.com is what *.example.com stands for, which is another account's");
    control.close().await;
}
