use super::*;

fn graph(arrows: &[(&str, &[&str])]) -> Graph {
    arrows.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect())).collect()
}

fn said(wrong: Vec<Wrong>) -> Vec<String> {
    wrong.iter().map(ToString::to_string).collect()
}

#[test]
fn the_workspace_is_as_drawn() {
    let metadata = crate::metadata().unwrap();
    check(&metadata).map_err(|error| error.chain()).unwrap();
    let found: Vec<_> = ours(&metadata).into_keys().collect();
    assert_eq!(found.len(), DRAWN.len(), "{found:?}");
}

#[test]
fn the_drawing_itself_is_right() {
    assert_eq!(wrong_arrows(&graph(DRAWN)), []);
    // Arrows point down only: whom a crate names stands above it in the list.
    for (place, (from, drawn)) in DRAWN.iter().enumerate() {
        for to in *drawn {
            assert!(DRAWN[..place].iter().any(|(name, _)| name == to), "{from} → {to}");
        }
    }
}

#[test]
fn an_arrow_between_the_towers_is_found() {
    let mut found = graph(DRAWN);
    found.get_mut("moorgate-proxy").unwrap().insert("moorgate-control".into());
    assert_eq!(said(wrong_arrows(&found)), ["moorgate-proxy depends on moorgate-control, and no arrow says so"]);
}

#[test]
fn an_arrow_that_is_gone_and_a_crate_that_is_new_are_found() {
    let mut found = graph(DRAWN);
    found.get_mut("moorgate-tls").unwrap().remove("moorgate-keys");
    found.insert("moorgate-extra".into(), BTreeSet::new());
    assert_eq!(
        said(wrong_arrows(&found)),
        [
            "moorgate-extra is not in the drawing",
            "moorgate-tls does not depend on moorgate-keys, though an arrow says so",
        ]
    );
}

#[test]
fn a_library_that_could_decrypt_is_found() {
    let linked = linked("moorgate-tls").unwrap();
    assert_eq!(
        said(wrong_links("moorgate-tls", &["rustls", "openssl"], &linked)),
        ["moorgate-tls must not link rustls; see: cargo tree -p moorgate-tls -e normal -i rustls"]
    );
}
