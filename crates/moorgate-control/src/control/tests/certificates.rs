use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moorgate_contract::route::{Domain, Mode};
use serde_json::json;

use super::trouble::{STORE, sql};
use crate::{
    Control, ControlError, Invalid, RouteState,
    testing::{House, Made, change},
};

async fn route(control: &Control, domain: &str, mode: Mode) {
    let url = if mode == Mode::Terminate { "http://192.0.2.7:3000" } else { "tls://192.0.2.7:443" };
    let to = change(json!({ "origins": [{ "url": url }] }));
    control.add_route(Some("default"), domain, mode, to).await.unwrap();
}

async fn add(control: &Control, account: Option<&str>, domain: &str, made: &Made) -> crate::Result<String> {
    let view = control.add_certificate(account, domain, made.chain.as_bytes(), made.key.as_bytes()).await?;
    Ok(view.account)
}

/// The key that traffic for `domain` is served with.
fn shown(house: &House, domain: &str) -> Option<Vec<u8>> {
    let snapshot = house.plane.served();
    let domain: Domain = domain.parse().unwrap();
    snapshot.route_of(&domain)?;
    snapshot.certificate(&domain).map(|certificate| certificate.first.key.to_vec())
}

#[tokio::test]
async fn a_certificate_is_shown_when_the_call_returns_and_survives_a_restart() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    route(&control, "a.example.com", Mode::Terminate).await;
    let (first, second) = (Made::of(&["a.example.com", "b.example.com"]), Made::of(&["*.example.com"]));
    let view =
        control.add_certificate(None, "A.example.com", first.chain.as_bytes(), first.key.as_bytes()).await.unwrap();
    assert_eq!((&view.domain[..], &view.account[..], &view.issuer[..]), ("a.example.com", "default", "Test CA"));
    assert_eq!(
        (&view.names[..], &view.key[..]),
        (&["a.example.com".into(), "b.example.com".into()][..], "ECDSA P-256")
    );
    assert_eq!((view.fingerprint.len(), &view.last_error), (64, &None));
    assert_eq!(shown(&house, "a.example.com"), Some(first.key_der.clone()));
    let certificate = control.route("a.example.com").await.unwrap().certificate.unwrap();
    assert_eq!((&certificate.issuer[..], certificate.not_after), ("Test CA", view.not_after));

    add(&control, None, "a.example.com", &second).await.unwrap();
    assert_eq!(shown(&house, "a.example.com"), Some(second.key_der.clone()));
    assert_eq!(control.list_certificates(None).await.len(), 1);
    let elsewhere = house.after_kill();
    let (control, _) = elsewhere.open().await.unwrap();
    assert_eq!(shown(&elsewhere, "a.example.com"), Some(second.key_der.clone()));
    control.remove_certificate("a.example.com").await.unwrap();
    assert!(shown(&elsewhere, "a.example.com").is_none());
    assert_eq!(control.route("a.example.com").await.unwrap().certificate.unwrap().issuer, "local CA");
    assert!(matches!(control.remove_certificate("a.example.com").await, Err(ControlError::NotFound { .. })));
    assert!(matches!(control.certificate("a.example.com").await, Err(ControlError::NotFound { .. })));
}

#[tokio::test]
async fn what_can_not_be_shown_is_refused_with_what_to_do() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (made, other) = (Made::of(&["a.example.com"]), Made::of(&["a.example.com"]));
    let check = async |domain: &str, chain: &str, key: &str, part: &str| {
        let error = control.add_certificate(None, domain, chain.as_bytes(), key.as_bytes()).await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, ControlError::Invalid(_)) && said.contains(part) && !said.contains('\n'), "{said}");
    };
    check("b.example.com", &made.chain, &made.key, "is not for b.example.com but for a.example.com").await;
    check("*.example.com", &made.chain, &made.key, "is not for *.example.com").await;
    check("a.example.com", &made.chain, &other.key, "none of the 1 certificates").await;
    check("a.example.com", &made.chain, "", "no private key").await;
    check("a.example.com", "", &made.key, "no certificate").await;
    check("localhost", &made.chain, &made.key, "one label").await;
    check("a.example.com", &" ".repeat(131_073), &made.key, "at most 131072 bytes").await;
    assert!(control.list_certificates(None).await.is_empty() && control.status().store_ok);
}

#[tokio::test]
async fn a_key_is_never_lent_to_another_account() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    control.add_account("acme").await.unwrap();
    let made = Made::of(&["*.example.com", "*.example.net"]);
    route(&control, "a.example.com", Mode::Terminate).await;
    let error = add(&control, Some("acme"), "a.example.com", &made).await.unwrap_err();
    assert!(matches!(error, ControlError::Invalid(Invalid::RouteOfAnother { .. })), "{error}");
    assert_eq!(add(&control, None, "a.example.com", &made).await.unwrap(), "default", "the route says whose");
    let error = add(&control, None, "b.example.com", &made).await.unwrap_err();
    assert!(matches!(error, ControlError::Invalid(Invalid::NameAnAccount { .. })), "{error}");

    add(&control, Some("acme"), "b.example.com", &made).await.unwrap();
    let to = change(json!({ "origins": [{ "url": "http://192.0.2.7:3000" }] }));
    let error = control.add_route(Some("default"), "b.example.com", Mode::Terminate, to).await.unwrap_err();
    assert!(matches!(error, ControlError::Invalid(Invalid::CertificateOfAnother { .. })), "{error}");
    let error = add(&control, Some("default"), "b.example.com", &made).await.unwrap_err();
    assert!(matches!(error, ControlError::Invalid(Invalid::CertificateOfAnother { .. })), "{error}");
    assert_eq!(control.list_certificates(Some("acme")).await.len(), 1);

    control.remove_account("acme").await.unwrap();
    assert_eq!(control.list_certificates(None).await.len(), 1);
    assert!(house.plane.served().certificates().all(|certificate| certificate.domain.to_string() == "a.example.com"));
    drop(control);
    let (control, _) = house.open().await.unwrap();
    assert_eq!(control.list_certificates(None).await.len(), 1);
    route(&control, "b.example.com", Mode::Terminate).await;
    assert!(shown(&house, "b.example.com").is_none());
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_takes_out_one_route_and_nothing_else() {
    let house = House::new();
    let (control, _) = house.open().await.unwrap();
    let (made, wild) = (Made::of(&["*.example.com"]), Made::of(&["*.example.com"]));
    for domain in ["key.example.com", "seal.example.com", "chain.example.com", "good.example.com", "none.example.com"] {
        route(&control, domain, Mode::Terminate).await;
    }
    for domain in ["key", "seal", "chain", "past"] {
        add(&control, None, &format!("{domain}.example.com"), &made).await.unwrap();
    }
    // Its certificate was there first: a route that shows none takes no new one.
    route(&control, "past.example.com", Mode::Passthrough).await;
    add(&control, None, "good.example.com", &wild).await.unwrap();
    control.close().await;
    drop(control);
    let others = "UPDATE certificate SET key = (SELECT key FROM certificate WHERE domain = 'good.example.com') \
                  WHERE domain IN ('key.example.com', 'past.example.com')";
    sql(&house, others).await;
    let nothing = if house.is_file() { "x'00'" } else { r"'\x00'" };
    sql(&house, &format!("UPDATE certificate SET key = {nothing} WHERE domain = 'seal.example.com'")).await;
    sql(&house, "UPDATE certificate SET chain = 'nothing' WHERE domain = 'chain.example.com'").await;

    let (control, start) = house.open().await.unwrap();
    assert_eq!(start.degraded, None);
    let mut served: Vec<_> = house.plane.served().routes().map(|route| route.domain.to_string()).collect();
    served.sort();
    assert_eq!(served, ["good.example.com", "none.example.com", "past.example.com"]);
    for (domain, part) in [("key", "does not belong"), ("seal", "format 0"), ("chain", "no certificate")] {
        let domain = format!("{domain}.example.com");
        let view = control.route(&domain).await.unwrap();
        let problem = view.problem.unwrap();
        assert!(view.state == RouteState::Failed && problem.contains(part) && problem.contains("anew"), "{problem}");
        let view = control.certificate(&domain).await.unwrap();
        assert!(view.last_error.unwrap().contains(part));
    }
    // Its own edit does not bring it back, and another row's does not either.
    let edited = control.set_route("key.example.com", change(json!({ "max_body": 1 }))).await.unwrap();
    assert_eq!(edited.state, RouteState::Failed);
    add(&control, None, "key.example.com", &made).await.unwrap();
    assert_eq!(shown(&house, "key.example.com"), Some(made.key_der.clone()));
    assert_eq!(control.route("key.example.com").await.unwrap().actions.max_body, Some(1));
    control.remove_certificate("seal.example.com").await.unwrap();
    assert_eq!(control.route("seal.example.com").await.unwrap().state, RouteState::Active);
    assert_eq!(control.route("chain.example.com").await.unwrap().state, RouteState::Failed);
}

/// What only a store in a file is asked.
mod file {
    use super::*;

    #[tokio::test]
    async fn the_sealed_copy_shows_certificates_while_the_store_is_down() {
        let house = House::new();
        let (control, _) = house.open().await.unwrap();
        let made = Made::of(&["a.example.com"]);
        route(&control, "a.example.com", Mode::Terminate).await;
        add(&control, None, "a.example.com", &made).await.unwrap();
        control.close().await;
        drop(control);
        fs::remove_file(house.path(STORE)).unwrap();
        let (_control, start) = house.open().await.unwrap();
        assert!(start.degraded.is_some());
        assert_eq!(shown(&house, "a.example.com"), Some(made.key_der));
    }

    #[tokio::test]
    async fn neither_a_key_nor_a_password_stands_in_a_file() {
        let house = House::new();
        let (control, _) = house.open().await.unwrap();
        let made = Made::of(&["a.example.com"]);
        route(&control, "a.example.com", Mode::Terminate).await;
        add(&control, None, "a.example.com", &made).await.unwrap();
        let secret = json!({
            "basic_auth": [{ "username": "alice", "password": "open-sesame" }],
            "request_headers": { "set": [{ "name": "authorization", "value": "Bearer sk_live_777" }] }
        });
        let view = format!("{:?}", control.set_route("a.example.com", change(secret)).await.unwrap());
        assert!(!view.contains("open-sesame") && !view.contains("sk_live_777"));
        let images = [house.image(), {
            control.close().await;
            house.image()
        }];
        // Anything of the key's own bytes, as they are or as text.
        let base64 = STANDARD.encode(&made.key_der);
        let texts = [&base64.as_bytes()[48..80], b"open-sesame", b"sk_live_777"].map(<[u8]>::to_vec);
        let secrets: Vec<Vec<u8>> = texts.into_iter().chain([made.key_der[36..60].to_vec()]).collect();
        let mut seen = 0;
        for file in images.iter().flat_map(|image| fs::read_dir(image.path()).unwrap()) {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            seen += usize::from(bytes.windows(13).any(|window| window == b"a.example.com"));
            for secret in &secrets {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{path:?}");
            }
        }
        assert!(seen >= 2, "the store and its log were looked into");
        assert!(house.path("snapshot.sealed").exists());
    }
}
