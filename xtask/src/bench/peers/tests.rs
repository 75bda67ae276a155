use super::*;

#[test]
fn words_in_braces_are_filled_in_and_other_braces_stay() {
    let words = [("DIR", "/tmp/a".to_owned()), ("PORT_SOCKS", "7".to_owned())];
    let text = "acl { src } port {PORT_SOCKS} at {DIR}/x {DIR}";
    assert_eq!(filled(text, &words), "acl { src } port 7 at /tmp/a/x /tmp/a");
}

#[test]
fn every_configuration_names_its_doors_and_no_word_that_nobody_fills_in() {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peers");
    let known = ["DIR", "ORIGIN", "ORIGIN_PORT", "FILES", "CONNECTIONS", "USER", "MODULES"];
    for program in Program::PEERS {
        let (Some(file), doors) = program.configuration() else { continue };
        let mut text = fs::read_to_string(peers.join(file)).unwrap();
        for door in doors {
            assert!(text.contains(&format!("{{{}}}", door.word())), "{file}: {door:?}");
        }
        for word in doors.iter().map(|door| door.word()).chain(known) {
            text = text.replace(&format!("{{{word}}}"), "");
        }
        let capitals = |rest: &str| {
            rest.split_once('}').is_some_and(|(word, _)| {
                !word.is_empty() && word.chars().all(|it| it == '_' || it.is_ascii_uppercase())
            })
        };
        let unknown: Vec<_> = text.split('{').skip(1).filter(|rest| capitals(rest)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}
