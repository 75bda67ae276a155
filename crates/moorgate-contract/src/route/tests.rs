use super::*;

#[test]
fn a_forwarding_url_reads_or_says_what_to_write() {
    let check = |text: &str, expected: Result<(&str, &str), &str>| match (text.parse::<OriginUrl>(), expected) {
        (Ok(url), Ok((shown, authority))) => {
            assert_eq!((url.to_string().as_str(), url.authority().as_str()), (shown, authority));
            assert_eq!(url.to_string().parse(), Ok(url), "reads back");
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
        (read, _) => panic!("{text}: {read:?}"),
    };
    check("http://127.0.0.1:3000", Ok(("http://127.0.0.1:3000", "127.0.0.1:3000")));
    check("http://App.Example.COM", Ok(("http://app.example.com:80", "app.example.com")));
    check("https://app.example.com/", Ok(("https://app.example.com:443", "app.example.com")));
    check("tls://[2001:db8::1]:4443", Ok(("tls://[2001:db8::1]:4443", "[2001:db8::1]:4443")));
    check("https://[2001:db8::1]", Ok(("https://[2001:db8::1]:443", "[2001:db8::1]")));
    check("app.example.com:80", Err("no forwarding URL"));
    check("ftp://app.example.com", Err("write http://HOST:PORT"));
    check("http://app.example.com/api", Err("has a path"));
    check("tls://app.example.com/", Err("has a path"));
    check("http://user:pass@app.example.com", Err("no username"));
    check("http://127.1:80", Err("write 127.0.0.1"));
    check("http://app.example.com:99999", Err("app.example.com:99999"));
    check("http://app.example.com:0", Err("port"));
}

#[test]
fn a_mode_takes_the_schemes_that_it_can_serve() {
    let fits = |url: &str, mode| url.parse::<OriginUrl>().unwrap().check_mode(mode).is_ok();
    assert!(fits("tls://a.test:1", Mode::Passthrough) && fits("https://a.test:1", Mode::Passthrough));
    assert!(!fits("http://a.test:1", Mode::Passthrough) && !fits("tls://a.test:1", Mode::Terminate));
    assert!(fits("http://a.test:1", Mode::Terminate) && fits("https://a.test:1", Mode::Terminate));
}

#[test]
fn a_domain_reads_or_says_why_not() {
    let read = |text: &str| text.parse::<Domain>().map(|domain| domain.to_string()).map_err(|error| error.to_string());
    assert_eq!(read("App.Example.com"), Ok("app.example.com".into()));
    assert_eq!(read("*.example.com"), Ok("*.example.com".into()));
    for (text, part) in [
        ("192.0.2.1", "is an address"),
        ("2001:db8::1", "is an address"),
        ("localhost", "one label"),
        ("*.com", "one label"),
        ("*.*.example.com", "no domain"),
        ("a*.example.com", "no domain"),
        ("a.example.com.", "dot at the end"),
        ("", "missing"),
        ("a.exa\u{1b}mple.com", "no domain"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(part) && !error.contains('\u{1b}'), "{text:?}: {error}");
    }
}

#[test]
fn a_redirect_takes_the_rest_and_the_query_along() {
    let check = |from: &str, to: &str, path: &str, query, expected: Option<&str>| {
        let redirect = PathRedirect { from: from.into(), to: to.into(), status: 308 };
        assert_eq!(redirect.target(path, query).as_deref(), expected, "{from} {path}");
    };
    check("/old", "/new", "/old", Some("a=1"), Some("/new?a=1"));
    check("/old", "/new", "/older", None, None);
    check("/old/*", "/new/*", "/old/x/y", Some("q"), Some("/new/x/y?q"));
    check("/old/*", "/new/*", "/old", None, Some("/new/"));
    check("/old/*", "/new/*", "/oldx", None, None);
    check("/old/*", "https://other.example/?from=old", "/old/x", Some("q"), Some("https://other.example/?from=old"));
    check("/*", "https://www.example.com/*", "/a/b", None, Some("https://www.example.com/a/b"));
}

#[test]
fn clients_are_let_in_or_the_rule_is_named() {
    let rules =
        ClientRules { allow: vec!["192.0.2.0/24".parse().unwrap()], deny: vec!["192.0.2.66/32".parse().unwrap()] };
    let refuse = |client: &str| rules.refuse(client.parse().unwrap());
    assert_eq!(refuse("192.0.2.1"), None);
    assert_eq!(refuse("::ffff:192.0.2.1"), None, "the same client on a dual-stack socket");
    assert_eq!(refuse("192.0.2.66").as_deref(), Some("deny 192.0.2.66/32"));
    assert!(refuse("198.51.100.1").is_some());
    assert_eq!(ClientRules::default().refuse("198.51.100.1".parse().unwrap()), None);
}

#[test]
fn the_longest_prefix_that_fits_gets_the_path() {
    let settings: RouteSettings = serde_json::from_value(serde_json::json!({
        "origins": [{ "url": "http://127.0.0.1:1" }],
        "paths": [
            { "prefix": "/api", "origins": [{ "url": "http://127.0.0.1:2" }] },
            { "prefix": "/api/v2", "origins": [{ "url": "http://127.0.0.1:3", "weight": 4 }] },
        ],
    }))
    .unwrap();
    let route = Route::new(RouteId(1), AccountId(1), "a.test".parse().unwrap(), Mode::Terminate, settings);
    let port = |path: &str| {
        let pool = route.pool_for(|prefix| path == prefix || path.starts_with(&format!("{prefix}/")));
        pool.origins()[0].url.target.port
    };
    assert_eq!([port("/"), port("/apix"), port("/api/x"), port("/api/v2")], [1, 1, 2, 3]);
    assert!(serde_json::from_str::<RouteSettings>(r#"{"orgins":[]}"#).is_err(), "a misspelt key is not ignored");
    let shown = serde_json::to_value(&*route.settings).unwrap();
    assert_eq!(serde_json::from_value::<RouteSettings>(shown).unwrap(), *route.settings);
}

#[test]
fn a_header_value_is_not_shown() {
    let field = HeaderField { name: "authorization".into(), value: "Bearer s3cret".into() };
    assert!(!format!("{field:?}").contains("s3cret"));
}
