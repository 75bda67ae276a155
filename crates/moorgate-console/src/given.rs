//! What people paste, as they mean it.

/// A domain: with a scheme, a path or a dot at its end it is the same one, and with letters of its own alphabet it is what
/// DNS has for it (IDNA).
pub(crate) fn domain(text: &str) -> String {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split(['/', '?', '#']).next().unwrap_or_default().trim_end_matches('.');
    match idna::domain_to_ascii(text) {
        Ok(ascii) if !text.is_ascii() => ascii,
        _ => text.to_owned(),
    }
}

/// A forwarding URL: without a scheme it is HTTPS.
pub(crate) fn forwarding_url(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// `host:port`: of a URL the port is its scheme's, where it has none, and alone a host means HTTPS.
pub(crate) fn target(text: &str) -> String {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        let in_brackets = !before.contains(':') || before.ends_with(']');
        in_brackets && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    match (host.is_empty() || has_port, scheme) {
        (true, _) => host.to_owned(),
        (false, "http") => format!("{host}:80"),
        (false, _) => format!("{host}:443"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pasted_is_taken_as_it_is_meant() {
        for (given, meant) in [
            (" app.example.com ", "app.example.com"),
            ("https://app.example.com/login?x", "app.example.com"),
            ("app.example.com.", "app.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.example.com", "*.example.com"),
            ("a b", "a b"),
            ("", ""),
        ] {
            assert_eq!(domain(given), meant, "{given}");
        }
        for (given, meant) in
            [("my-app.example.net", "https://my-app.example.net"), ("http://a:1", "http://a:1"), ("", "")]
        {
            assert_eq!(forwarding_url(given), meant);
        }
        for (given, meant) in [
            ("api.example.com", "api.example.com:443"),
            ("api.example.com:5432", "api.example.com:5432"),
            ("https://api.example.com/v1", "api.example.com:443"),
            ("http://api.example.com/", "api.example.com:80"),
            ("https://api.example.com:8443/v1", "api.example.com:8443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
            ("[2001:db8::1]:5432", "[2001:db8::1]:5432"),
            ("", ""),
        ] {
            assert_eq!(target(given), meant, "{given}");
        }
    }
}
