//! Tags, and what is done only if they still hold.

use super::*;

impl House {
    /// Status, tag and body of the operator's request with one more header.
    async fn with_header(&self, method: &str, path: &str, header: &str, body: &str) -> (u16, String, String) {
        let headers = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n{header}", self.operator);
        let (status, answer) = self.ask(method, &format!("/api/v1/{path}"), &headers, body).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap_or_default();
        (status, tag.to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn a_reader_is_spared_what_it_has() {
    let house = House::new().await;
    house.add_route("acme", "app.test").await;
    house.control.set_tier("gold", Default::default()).await.unwrap();
    let username = house.control.add_credential("acme", Default::default()).await.unwrap().username;
    let token = house.control.add_token(Some("acme"), moorgate_control::Scope::Read).await.unwrap().id;
    let flow = house.record(1, Some("acme"), "four.example:443", Outcome::Ok).await;
    for path in [
        "accounts/acme",
        "accounts/acme/policy",
        &format!("accounts/acme/credentials/{username}"),
        &format!("tokens/{token}"),
        "routes/app.test",
        "certificates/app.test",
        "tiers/gold",
        &format!("flows/{flow}"),
        "status",
    ] {
        let (status, tag, body) = house.with_header("GET", path, "", "").await;
        assert!(status == 200 && tag.len() == 67 && !body.is_empty(), "{path}: {status} {tag}");
        assert_eq!(house.with_header("HEAD", path, "", "").await, (200, tag.clone(), String::new()), "{path}");
        for condition in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let header = format!("If-None-Match: {condition}\r\n");
            assert_eq!(house.with_header("GET", path, &header, "").await, (304, tag.clone(), String::new()), "{path}");
        }
        assert_eq!(house.with_header("GET", path, "If-None-Match: \"other\"\r\n", "").await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_writer_does_not_undo_what_it_has_not_seen() {
    let house = House::new().await;
    house.add_route("acme", "app.test").await;
    let (_, old, _) = house.with_header("GET", "routes/app.test", "", "").await;
    let patch = async |header: &str, most: u32| {
        let body = format!("{{\"max_body\":{most}}}");
        house.with_header("PATCH", "routes/app.test", header, &body).await
    };
    let only_if = |tag: &str| format!("If-Match: {tag}\r\n");
    let (status, new, _) = patch(&only_if(&old), 1).await;
    assert!(status == 200 && new != old, "{new}");
    assert_eq!(house.with_header("GET", "routes/app.test", "", "").await.1, new);
    for stale in [old.clone(), "\"other\"".into(), format!("W/{new}"), "nonsense".into()] {
        let (status, _, body) = patch(&only_if(&stale), 2).await;
        assert!(status == 412 && body.contains("\"changed\"") && body.contains("read it again"), "{stale}: {body}");
        assert_eq!(house.with_header("DELETE", "routes/app.test", &only_if(&stale), "").await.0, 412);
    }
    assert_eq!(patch(&only_if("*"), 3).await.0, 200);
    let (_, now, _) = house.with_header("GET", "routes/app.test", "", "").await;
    assert_eq!(patch(&only_if(&format!("{old}, {now}")), 4).await.0, 200);
    // What is not there is said to be not there, but for what would be made.
    assert_eq!(house.with_header("DELETE", "routes/none.test", &only_if("*"), "").await.0, 404);
    let certificate = serde_json::to_string(&certificate_for("new.test")).unwrap();
    let put = async |header: &str| house.with_header("PUT", "certificates/app.test", header, &certificate).await.0;
    assert_eq!(put("If-None-Match: *\r\n").await, 412);
    let policy = async |header: &str| {
        house
            .with_header("PUT", "accounts/acme/policy", header, r#"{"rules":[{"effect":"deny","match":"a.test"}]}"#)
            .await
            .0
    };
    let (_, tag, _) = house.with_header("GET", "accounts/acme/policy", "", "").await;
    assert_eq!((policy(&only_if(&tag)).await, policy(&only_if(&tag)).await), (200, 412));
}

#[tokio::test]
async fn what_an_account_spends_keeps_no_writer_from_its_change() {
    let house = House::new().await;
    let quotas = moorgate_contract::quota::Quotas { bytes_per_month: Some(1_000_000), ..Default::default() };
    house.control.set_tier("gold", quotas).await.unwrap();
    let change = |tier: &str| format!("{{\"tier\":{tier}}}");
    let (status, _, body) = house.with_header("PATCH", "accounts/acme", "", &change("\"gold\"")).await;
    assert!(status == 200 && body.contains("\"bytes\":0"), "{body}");
    let (_, tag, _) = house.with_header("GET", "accounts/acme", "", "").await;
    house.moves("acme", "a.example", 1_234);
    // Asked for, so that it is taken in.
    house.client().usage(&Default::default()).await.unwrap();
    let (_, read, body) = house.with_header("GET", "accounts/acme", &format!("If-None-Match: {tag}\r\n"), "").await;
    assert!(read != tag && body.contains("\"bytes\":1234"), "{body}");
    let only_if = format!("If-Match: {tag}\r\n");
    assert_eq!(house.with_header("PATCH", "accounts/acme", &only_if, &change("null")).await.0, 200);
    assert_eq!(house.with_header("PATCH", "accounts/acme", &only_if, &change("\"gold\"")).await.0, 412);
}

#[tokio::test]
async fn of_many_writers_with_the_same_tag_one_gets_through() {
    let house = House::new().await;
    house.add_route("acme", "app.test").await;
    let (_, tag, _) = house.with_header("GET", "routes/app.test", "", "").await;
    let header = format!("If-Match: {tag}\r\n");
    let writes = (1..=20).map(|most| {
        let (house, header) = (&house, &header);
        async move {
            let body = format!("{{\"max_body\":{most}}}");
            house.with_header("PATCH", "routes/app.test", header, &body).await.0
        }
    });
    let mut answers = futures_util::future::join_all(writes).await;
    answers.sort_unstable();
    assert_eq!(answers, [vec![200], vec![412; 19]].concat());
}

#[tokio::test]
async fn what_was_made_is_answered_with_the_tag_by_which_it_can_be_changed() {
    let house = House::new().await;
    let route = r#"{"domain":"app.test","mode":"terminate","account":"acme","origins":[{"url":"http://192.0.2.7:1"}]}"#;
    for (path, body, one) in
        [("accounts", r#"{"name":"fresh"}"#, "accounts/fresh"), ("routes", route, "routes/app.test")]
    {
        let (status, tag, made) = house.with_header("POST", path, "", body).await;
        assert_eq!((status, tag.len()), (201, 67), "{path}: {made}");
        let (_, read, body) = house.with_header("GET", one, "", "").await;
        assert_eq!((read, body), (tag.clone(), made), "{path}");
        let (status, _, _) = house.with_header("DELETE", one, &format!("If-Match: {tag}\r\n"), "").await;
        assert_eq!(status, 204, "{path}");
    }
}
