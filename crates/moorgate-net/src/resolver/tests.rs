use super::*;

#[tokio::test]
async fn no_more_names_are_cached_than_there_is_room_for() {
    let resolver = Resolver::new(&[([127, 0, 0, 1], 9).into()], Handle::current()).unwrap();
    for n in 0..CACHED_NAMES + 1_000 {
        let name = DomainName::parse(&format!("n{n}.test")).unwrap();
        resolver.cache.insert(name, Answer { addresses: Ok(Arc::default()), keep: CEILING }).await;
    }
    resolver.cache.run_pending_tasks().await;
    assert_eq!(resolver.cache.entry_count(), CACHED_NAMES);
}
