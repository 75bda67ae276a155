//! What is asked again under its key is not done again.

use moorgate_control::Scope;

use super::*;

impl House {
    async fn post(&self, token: &str, key: &str, path: &str, body: &str) -> (u16, bool, String) {
        let json = "Content-Type: application/json";
        let headers = format!("Authorization: Bearer {token}\r\n{json}\r\nIdempotency-Key: {key}\r\n");
        let (status, answer) = self.ask("POST", &format!("/api/v1/{path}"), &headers, body).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, head.contains("idempotency-replayed: true"), body.to_owned())
    }
}

#[tokio::test]
async fn what_was_done_is_answered_again_and_not_done_twice() {
    let house = House::new().await;
    let (operator, path) = (&*house.operator, "accounts/acme/credentials");
    let (status, replayed, first) = house.post(operator, "k1", path, "").await;
    assert_eq!((status, replayed), (201, false));
    assert_eq!(house.post(operator, "\"k1\"", path, "").await, (201, true, first.clone()));
    assert_ne!(house.post(operator, "k2", path, "").await.2, first);
    assert_eq!(house.control.list_credentials("acme").await.unwrap().len(), 2);
    // Operators have their keys in common, whichever token they have; an account has its own.
    let colleague = house.control.add_token(None, Scope::Write).await.unwrap();
    assert_eq!(house.post(colleague.token.reveal(), "k1", path, "").await, (201, true, first.clone()));
    let other = house.control.add_token(Some("acme"), Scope::Write).await.unwrap();
    assert_ne!(house.post(other.token.reveal(), "k1", path, "").await.2, first);
    // A no is an answer too; another request under the same key is a mistake.
    assert_eq!(house.post(operator, "k3", "accounts", r#"{"name":"acme"}"#).await.0, 409);
    assert!(house.post(operator, "k3", "accounts", r#"{"name":"acme"}"#).await.1);
    for (path, body) in [("accounts", r#"{"name":"fresh"}"#), ("tokens", r#"{"name":"acme"}"#)] {
        let (status, _, body) = house.post(operator, "k3", path, body).await;
        assert!(status == 422 && body.contains("idempotency_key_reused"), "{body}");
    }
    for key in ["", &"a".repeat(256)] {
        let (status, _, body) = house.post(operator, key, "accounts", r#"{"name":"fresh"}"#).await;
        assert!(status == 400 && body.contains("bad_idempotency_key"), "{body}");
    }
    assert!(house.control.account("fresh").await.is_err());
}

#[tokio::test]
async fn of_many_at_once_under_one_key_one_is_done() {
    let house = House::new().await;
    let posts = (0..20).map(|_| house.post(&house.operator, "k", "accounts/acme/credentials", ""));
    let answers = futures_util::future::join_all(posts).await;
    let made: Vec<_> = answers.iter().filter(|(status, replayed, _)| *status == 201 && !replayed).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    for (status, replayed, body) in &answers {
        let same = *status == 201 && *body == made[0].2;
        let waits = *status == 409 && body.contains("still_running") && !replayed;
        assert!(same || waits, "{status}: {body}");
    }
    assert_eq!(house.control.list_credentials("acme").await.unwrap().len(), 1);
}
