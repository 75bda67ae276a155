//! Listings, page by page.

use moorgate_control::Scope;
use serde_json::Value;

use super::*;

impl House {
    /// The names in one page of a listing, and where the next one is.
    async fn page(&self, token: &str, path: &str, name: &str) -> (Vec<String>, Option<String>) {
        let (status, answer) = self.ask_as(token, "GET", path, "").await;
        assert_eq!(status, 200, "{path}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let rows: Vec<Value> = serde_json::from_str(body).unwrap();
        let next = head.lines().find_map(|line| line.strip_prefix("link: <")?.strip_suffix(">; rel=\"next\""));
        (rows.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect(), next.map(str::to_owned))
    }

    /// Everything that is listed, by pages of two.
    async fn walk(&self, token: &str, path: &str, name: &str) -> Vec<Vec<String>> {
        let (mut pages, mut next) = (Vec::new(), Some(format!("/api/v1/{path}?limit=2")));
        while let Some(path) = next {
            let (page, after) = self.page(token, &path, name).await;
            pages.push(page);
            next = after;
        }
        pages
    }
}

#[tokio::test]
async fn every_listing_can_be_read_in_pages() {
    let house = House::new().await;
    let control = &house.control;
    for name in ["b1", "b0"] {
        control.add_account(name).await.unwrap();
        control.add_credential("acme", Default::default()).await.unwrap();
        control.add_token(Some("acme"), Scope::Read).await.unwrap();
    }
    for domain in ["c.test", "a.test", "b.test"] {
        house.add_route("acme", domain).await;
    }
    let token = control.add_token(Some("acme"), Scope::Read).await.unwrap();
    let (operator, acme) = (&*house.operator, token.token.reveal());
    assert_eq!(
        house.walk(operator, "accounts", "name").await,
        [vec!["acme", "b0"], vec!["b1", "default"], vec!["other"]]
    );
    assert_eq!(house.walk(acme, "accounts", "name").await, [vec!["acme"]]);
    for listing in ["routes", "certificates"] {
        assert_eq!(house.walk(operator, listing, "domain").await, [vec!["a.test", "b.test"], vec!["c.test"]]);
    }
    let names: Vec<_> = control.list_credentials("acme").await.unwrap().into_iter().map(|row| row.username).collect();
    assert_eq!(house.walk(acme, "accounts/acme/credentials", "username").await, [names]);
    let ids: Vec<_> = control.list_tokens(Some("acme")).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(house.walk(acme, "tokens", "id").await.concat(), ids);
}

#[tokio::test]
async fn what_is_added_or_removed_between_pages_doubles_and_skips_nothing() {
    let house = House::new().await;
    for domain in ["b.test", "d.test", "f.test"] {
        house.add_route("acme", domain).await;
    }
    let (page, next) = house.page(&house.operator, "/api/v1/routes?limit=2", "domain").await;
    assert_eq!(page, ["b.test", "d.test"]);
    house.control.remove_route("d.test").await.unwrap();
    house.add_route("acme", "a.test").await;
    house.add_route("acme", "e.test").await;
    let (page, next) = house.page(&house.operator, &next.unwrap(), "domain").await;
    assert_eq!((page, next), (vec!["e.test".to_owned(), "f.test".to_owned()], None));
}

#[tokio::test]
async fn flows_are_read_backwards_in_pages() {
    let house = House::new().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let account = if number % 3 == 2 { "other" } else { "acme" };
        ids.push(house.record(number, Some(account), "a.example:443", Outcome::Ok).await.to_string());
    }
    let pages = house.walk(&house.operator, "flows", "id").await;
    assert_eq!(pages, [&ids[5..7], &ids[3..5], &ids[1..3], &ids[..1]]);
    let token = house.control.add_token(Some("other"), Scope::Read).await.unwrap();
    let (_, next) = house.page(&house.operator, "/api/v1/flows?limit=2", "id").await;
    // Whoever else's cursor it is: an account sees its own.
    let (page, _) = house.page(token.token.reveal(), &next.unwrap(), "id").await;
    assert_eq!(page, [&*ids[2]]);
    let (status, answer) = house.ask_as(&house.operator, "GET", "/api/v1/flows?cursor=none", "").await;
    assert!(status == 400 && answer.contains("bad_query"), "{answer}");
}

#[tokio::test]
async fn tiers_and_the_audit_log_are_read_in_pages() {
    let house = House::new().await;
    for name in ["silver", "bronze", "gold"] {
        house.control.set_tier(name, Default::default()).await.unwrap();
    }
    assert_eq!(house.walk(&house.operator, "tiers", "name").await, [vec!["bronze", "gold"], vec!["silver"]]);
    let newest = house.walk(&house.operator, "audit", "name").await;
    let tiers: Vec<_> = newest.concat().into_iter().take(3).collect();
    assert_eq!(tiers, ["gold", "bronze", "silver"]);
    let all = house.control.audit(moorgate_control::AuditFilter { limit: 1_000, ..Default::default() }).await.unwrap();
    assert_eq!(newest.concat().len(), all.len());
    assert!(newest.iter().all(|page| !page.is_empty()));
    assert_eq!(house.client().audit(None, 3).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_cursor_shows_nobody_what_is_anothers() {
    let house = House::new().await;
    for domain in ["a.test", "b.test", "c.test"] {
        house.add_route("acme", domain).await;
    }
    house.add_route("other", "d.test").await;
    let token = house.control.add_token(Some("other"), Scope::Read).await.unwrap();
    let (_, next) = house.page(&house.operator, "/api/v1/routes?limit=1", "domain").await;
    let (page, next) = house.page(token.token.reveal(), &next.unwrap(), "domain").await;
    assert_eq!((page, next), (vec!["d.test".to_owned()], None));
}

#[tokio::test]
async fn the_client_reads_every_page() {
    let house = House::new().await;
    for number in 0..1_003 {
        house.control.add_account(&format!("a{number:04}")).await.unwrap();
    }
    let names: Vec<_> = house.client().accounts().await.unwrap().into_iter().map(|account| account.name).collect();
    assert_eq!(names.len(), 1_006);
    assert!(names.is_sorted());
}
