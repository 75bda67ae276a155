use super::*;

fn entry(number: u32, account: &str) -> Entry {
    let id = digest(&[&number.to_be_bytes()]);
    Entry { id, asked: [0; 32], account: Some(account.into()), begun: Instant::now(), answer: None }
}

async fn keep(answers: &Answers, number: u32, account: &str, bytes: usize) {
    assert!(answers.begin(entry(number, account)).unwrap().is_none());
    let running = Running { answers: answers.clone(), id: entry(number, account).id };
    running.finish(Response::new(Body::from(vec![b'a'; bytes]))).await.unwrap();
}

#[tokio::test]
async fn an_accounts_oldest_answers_make_room_and_no_other_accounts() {
    let answers = Answers::default();
    keep(&answers, 0, "other", 1).await;
    for number in 1..=u32::try_from(MOST_OF_ONE.answers).unwrap() + 5 {
        keep(&answers, number, "acme", 1).await;
    }
    let kept = |account: &str| answers.entries().iter().filter(|kept| kept.account.as_deref() == Some(account)).count();
    assert_eq!((kept("acme"), kept("other")), (MOST_OF_ONE.answers, 1));
    for number in 10_000..10_006 {
        keep(&answers, number, "acme", 1 << 20).await;
    }
    let bytes = |entry: &Entry| entry.answer.as_ref().map_or(0, |kept| kept.body.len());
    let held: usize = answers.entries().iter().map(bytes).sum();
    assert!(held <= MOST_OF_ONE.bytes + 1, "{held}");
}

#[test]
fn a_key_is_one_short_text() {
    let key_of = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_bytes(value).unwrap());
        key(&headers)
    };
    assert_eq!(key_of(b"abc").unwrap(), key_of(b"\"abc\"").unwrap());
    assert!(key_of(&[b'a'; KEY_BYTES]).is_ok());
    for bad in [&b""[..], b"\"\"", b"\"a", "ä".as_bytes(), &[b'a'; KEY_BYTES + 1]] {
        assert_eq!(key_of(bad).unwrap_err().status, 400, "{bad:?}");
    }
    let mut two = HeaderMap::new();
    two.append(KEY, HeaderValue::from_static("a"));
    two.append(KEY, HeaderValue::from_static("b"));
    assert!(key(&two).is_err());
}
