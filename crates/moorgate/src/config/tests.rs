use std::time::Duration;

use super::*;

const FILE: &str = "/etc/moorgate.toml";

/// Settings from a file's text and variables; the error as people see it.
fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let env = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let path = Path::new(FILE);
    let build = || {
        let mut given = file::parse(path, text)?;
        given.extend(env::read(&env)?);
        Settings { profile: Profile::File, given }.build(None, &env)
    };
    build().map_err(|error: ConfigError| error.to_string())
}

fn bare(variables: &[(&str, &str)]) -> Result<Config, String> {
    let env = |wanted: &str| match wanted {
        "HOME" => Some("/home/ada".to_owned()),
        _ => variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned()),
    };
    load(None, None, &env).map_err(|error| error.to_string())
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn without_a_file_everything_is_on_loopback() {
    let config = bare(&[]).unwrap();
    assert_eq!(config.profile, Profile::Loopback);
    assert_eq!(config.data_dir, Path::new("/home/ada/.local/state/moorgate"));
    let listeners: Vec<_> =
        config.listeners().map(|(listener, address)| format!("{} {address}", listener.name())).collect();
    assert_eq!(
        listeners,
        [
            "inbound_http 127.0.0.1:8080",
            "inbound_tls 127.0.0.1:8443",
            "outbound_http 127.0.0.1:9293",
            "outbound_socks 127.0.0.1:1080",
            "outbound_https 127.0.0.1:9294",
            "outbound_socks_tls 127.0.0.1:1081",
        ]
    );
    assert_eq!(config.console, "127.0.0.1:7070".parse().unwrap());
    assert_eq!(config.hostname.to_string(), "localhost");
    assert_eq!(config.allowed_networks, Guard::loopback_profile());
    assert!(!config.is_reachable_from_outside());
}

#[test]
fn an_empty_file_means_production() {
    let config = read("", &[]).unwrap();
    assert_eq!(config.profile, Profile::File);
    assert_eq!(config.data_dir, Path::new("/var/lib/moorgate"));
    assert_eq!(config.inbound_tls, addresses(&["0.0.0.0:443", "[::]:443"]));
    assert_eq!(config.outbound_http, addresses(&["0.0.0.0:9293", "[::]:9293"]));
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.allowed_networks, []);
    assert_eq!((config.log_format, config.log_flows.clone()), (LogFormat::Text, FlowLog::Stdout));
    assert!(config.is_reachable_from_outside());
}

#[test]
fn every_key_of_the_documentation_is_read() {
    let config = read(
        r#"
        data_dir = "/srv/moorgate"
        [store]
        url = "sqlite"
        [secrets]
        master_key_file = "/run/key"
        [inbound]
        http = ["127.0.0.1:0"]
        tls = []
        trust_proxy_protocol_from = ["10.1.0.0/16", "192.0.2.7"]
        [outbound]
        http = ["10.0.0.1:9293", "[fd00::1]:9293"]
        hostname = "Proxy.Example.com"
        [egress]
        addresses = ["203.0.113.10", "203.0.113.11"]
        allow_private_destinations = ["10.0.0.0/8", "192.168.7.7"]
        [resolver]
        servers = ["192.0.2.53", "[2001:db8::53]:5353"]
        [limits]
        head = "500ms"
        idle_tunnel = "2h"
        drain = "0s"
        connections = 250
        connections_per_account = 1_000
        [acme]
        directory = ""
        [dns]
        zone = "Edge.Example.com"
        addresses = ["203.0.113.10"]
        listen = ["203.0.113.10:53"]
        resolvers = ["192.0.2.53"]
        [console]
        listen = "[::1]:7071"
        hostname = ""
        [metrics]
        listen = ""
        [log]
        format = "json"
        flows = "/var/log/flows"
        keep = 250000
        [cluster]
        "#,
        &[],
    )
    .unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/moorgate"));
    assert_eq!(config.master_key_file.as_deref(), Some(Path::new("/run/key")));
    assert_eq!(config.inbound_http, addresses(&["127.0.0.1:0"]));
    assert_eq!(config.inbound_tls, []);
    assert_eq!(config.outbound_http, addresses(&["10.0.0.1:9293", "[fd00::1]:9293"]));
    assert_eq!(config.hostname.to_string(), "proxy.example.com");
    assert_eq!(config.egress.iter().map(ToString::to_string).collect::<Vec<_>>(), ["203.0.113.10", "203.0.113.11"]);
    let networks: Vec<_> = config.allowed_networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.168.7.7/32"]);
    assert_eq!(config.resolvers, addresses(&["192.0.2.53:53", "[2001:db8::53]:5353"]));
    assert_eq!(
        config.limits,
        Limits {
            head: Duration::from_millis(500),
            idle_tunnel: Duration::from_secs(7200),
            drain: Duration::ZERO,
            connections: Some(250),
            connections_per_account: 1000,
            ..Limits::default()
        }
    );
    assert_eq!(config.console, "[::1]:7071".parse().unwrap());
    assert_eq!((config.log_format, config.log_flows), (LogFormat::Json, FlowLog::File("/var/log/flows".into())));
    assert_eq!(config.keep_flows, 250_000);
}

#[test]
fn the_environment_wins_over_the_file_and_leaves_the_profile() {
    let file = "[outbound]\nhttp = [\"0.0.0.0:9293\"]\n[limits]\nhead = \"10s\"\nconnections = 5";
    let config = read(
        file,
        &[
            ("MOORGATE_OUTBOUND_HTTP", "127.0.0.1:19293, [::1]:19293"),
            ("MOORGATE_INBOUND_TLS", ""),
            ("MOORGATE_LIMITS_HEAD", ""),
            ("MOORGATE_LIMITS_CONNECTIONS", "7"),
            ("MOORGATE_EGRESS_ALLOW_PRIVATE_DESTINATIONS", "true"),
            ("MOORGATE_STATIC_URL", "http://user:pass@localhost:9293"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.profile, Profile::File);
    assert_eq!(config.outbound_http, addresses(&["127.0.0.1:19293", "[::1]:19293"]));
    assert_eq!((config.inbound_tls.len(), config.limits.head.as_secs(), config.limits.connections), (0, 10, Some(7)));
    assert_eq!(config.allowed_networks, Guard::private_networks());

    let config = bare(&[
        ("MOORGATE_OUTBOUND_HTTP", "0.0.0.0:9293"),
        ("MOORGATE_EGRESS_ALLOW_PRIVATE_DESTINATIONS", "10.9.0.0/16"),
    ]);
    let config = config.unwrap();
    assert_eq!((config.profile, config.is_reachable_from_outside()), (Profile::Loopback, true));
    assert!(config.allowed_networks.starts_with(&Guard::loopback_profile()) && config.allowed_networks.len() == 3);
}

#[test]
fn the_data_directory_comes_from_the_flag_then_the_environment_then_the_file() {
    let with = |flag: Option<&str>, variables: &[(&str, &str)]| {
        let env =
            |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        load(None, flag.map(PathBuf::from), &env).map(|config| config.data_dir).map_err(|error| error.to_string())
    };
    let variables = [("MOORGATE_DATA_DIR", "/env"), ("XDG_STATE_HOME", "/state"), ("HOME", "/home/ada")];
    assert_eq!(with(Some("/flag"), &variables), Ok("/flag".into()));
    assert_eq!(with(None, &variables), Ok("/env".into()));
    assert_eq!(with(None, &variables[1..]), Ok("/state/moorgate".into()));
    assert_eq!(
        with(None, &[("XDG_STATE_HOME", "state"), ("HOME", "/home/ada")]),
        Ok("/home/ada/.local/state/moorgate".into())
    );
    assert!(with(None, &[]).unwrap_err().contains("--data-dir"));
    assert_eq!(read("data_dir = \"/file\"", &[("MOORGATE_DATA_DIR", "/env")]).unwrap().data_dir, Path::new("/env"));
    assert!(with(Some("relative"), &[]).unwrap().is_absolute());
}

#[test]
fn a_command_finds_the_gateway_of_the_system_when_there_is_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (own, system) = (directory.path().join("own"), directory.path().join("system"));
    let found = || with_gateway(Some(own.clone()), &system).unwrap();
    assert_eq!(found(), own);
    std::fs::create_dir_all(&system).unwrap();
    std::fs::write(system.join(GATEWAY_FILE), "{}").unwrap();
    assert_eq!(found(), system);
    assert_eq!(with_gateway(None, &system), Some(system.clone()));
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join(GATEWAY_FILE), "{}").unwrap();
    assert_eq!(found(), own);
}

/// The error that a file of this text gives.
fn check_error(text: &str, said: &str) {
    assert_eq!(read(text, &[]).unwrap_err(), said, "{text}");
}

#[test]
fn a_mistake_is_answered_with_file_line_and_the_nearest_right_key() {
    for (text, said) in [
        ("\n[limits]\nhaed = \"10s\"", "line 3: there is no key limits.haed; did you mean limits.head?"),
        ("[inbuond]\nhttp = []", "line 2: there is no key inbuond.http; did you mean inbound.http?"),
        ("listen = \"127.0.0.1:7070\"", "line 1: there is no key listen; did you mean console.listen?"),
        ("[outbound]\nsocks-tls = []", "line 2: there is no key outbound.socks-tls; did you mean outbound.socks_tls?"),
        ("datadir = \"/x\"", "line 1: there is no key datadir; did you mean data_dir?"),
        ("[limit]", "line 1: there is no section [limit]; did you mean [limits]?"),
        ("[z]\nb = 1\n[log]\nfromat = \"x\"", "line 2: there is no key z.b; did you mean store.url?"),
    ] {
        check_error(text, &format!("{FILE} {said}"));
    }
}

#[test]
fn a_wrong_value_is_answered_with_what_would_be_right() {
    for (text, said) in [
        (
            "limits = 3",
            "line 1: limits is a single value, but must be a section: write [limits] on a line of its own and its keys below",
        ),
        (
            "[limits]\nhead = 10",
            "line 2: limits.head is 10, but must be a time with its unit, such as 500ms, 10s, 5m, 1h or 7d, above zero",
        ),
        (
            "[limits]\nhead = \"0s\"",
            "line 2: limits.head is \"0s\", but must be a time with its unit, such as 500ms, 10s, 5m, 1h or 7d, above zero",
        ),
        ("[limits]\nconnections = 0", "line 2: limits.connections is 0, but must be a whole number, at least 1"),
        (
            "[limits]\nconnections = \"9\"",
            "line 2: limits.connections is \"9\", but must be a whole number, at least 1",
        ),
        (
            "[outbound]\nhttp = \"127.0.0.1:1\"",
            "line 2: outbound.http is \"127.0.0.1:1\", but must be a list in brackets, such as [\"127.0.0.1:9293\"]",
        ),
        (
            "[outbound]\nhttp = [\"127.1:80\"]",
            "line 2: outbound.http is \"127.1:80\", but must be an address and a port, such as 127.0.0.1:9293 or [::]:9293",
        ),
        (
            "[outbound]\nhttp = [\"[::1]:80\",\n\"[::1]:80\"]",
            "line 2: outbound.http has [::1]:80 twice; once is enough",
        ),
        (
            "[egress]\nallow_private_destinations = [\"10.1.2.3/8\"]",
            "line 2: egress.allow_private_destinations is \"10.1.2.3/8\", but must be a network; the one around it is 10.0.0.0/8",
        ),
        (
            "[egress]\naddresses = [\"0.0.0.0\"]",
            "line 2: egress.addresses is \"0.0.0.0\", but must be an IP address of this gateway, such as 203.0.113.10",
        ),
        ("[log]\nformat = \"xml\"", "line 2: log.format is \"xml\", but must be text or json"),
        (
            "[log]\nflows = \"sdtout\"",
            "line 2: log.flows is \"sdtout\", but must be stdout, off or a file's path with a slash in it, such as /var/log/moorgate/flows.log",
        ),
        (
            "[store]\nurl = \"mysql://a:secret@b\"",
            "line 2: store.url is …, but must be sqlite or postgres://USER:PASSWORD@HOST/DATABASE",
        ),
        ("[secrets]\nmaster_key = \"5ecret\"", "line 2: secrets.master_key is …, but must be 64 hexadecimal digits"),
        (
            "[console]\nlisten = \"0.0.0.0:7070\"",
            "line 2: console.listen is 0.0.0.0:7070, and off loopback the console speaks TLS alone: name it in console.hostname, \
             or write 127.0.0.1:7070 and reach it through an SSH tunnel",
        ),
        (
            "[dns]\nzone = \"co.uk\"",
            "line 2: dns.zone is \"co.uk\", but must be the name of a zone of your own with room for longer names in it, such as \
             edge.example.com",
        ),
        ("[console]\nsign_up = \"yes\"", "line 2: console.sign_up is \"yes\", but must be true or false"),
        (
            "[console]\nhostname = \"192.0.2.1\"",
            "line 2: console.hostname is \"192.0.2.1\", but must be a name that browsers reach the console by, such as \
             console.example.com",
        ),
        (
            "[acme]\ndirectory = \"http://ca.test/dir\"",
            "line 2: acme.directory is \"http://ca.test/dir\", but must be the https:// URL of a CA's ACME directory, such as \
             https://acme-v02.api.letsencrypt.org/directory",
        ),
        ("[acme]\nprofile = \"shortlived\"", "line 2: acme.profile is for a CA; name it in acme.directory"),
        (
            "[acme]\ndirectory = \"https://ca.test/dir\"\neab_key_id = \"k\"",
            "line 3: acme.eab_key_id and acme.eab_hmac_key go together; give both, as the CA did",
        ),
        (
            "[acme]\ndirectory = \"https://ca.test/dir\"\neab_hmac_key = \"s3cret!\"",
            "line 3: acme.eab_hmac_key is …, but must be a key in base64url, as the CA gave it",
        ),
        (
            "[dns]\nzone = \"edge example\"",
            "line 2: dns.zone is \"edge example\", but must be the name of a zone of your own with room for longer names \
             in it, such as edge.example.com",
        ),
        (
            "[dns]\nzone = \"edge.example.com\"\naddresses = [\"0.0.0.0\"]",
            "line 3: dns.addresses is \"0.0.0.0\", but must be an IP address by which clients reach this gateway, such as \
             203.0.113.10",
        ),
        ("[dns]\nlisten = [\"0.0.0.0:53\"]", "line 2: dns.listen answers for a zone; name it in dns.zone"),
        (
            "[cluster]\nname = \"a b\"",
            "line 2: cluster.name is \"a b\", but must be a name of letters, digits, hyphens and dots, such as gateway-1",
        ),
        ("[cluster]\nanything = \"a\"", "line 2: cluster.anything is not supported by this version; leave it out"),
        (
            "[inbound]\ntrust_proxy_protocol_from = [\"lb.example.com\"]",
            "line 2: inbound.trust_proxy_protocol_from is \"lb.example.com\", but must be a network in CIDR form, such as 10.0.0.0/8, or an address",
        ),
    ] {
        check_error(text, &format!("{FILE} {said}"));
    }
    check_error(
        "[inbound]\nhttp = [\"127.0.0.1:80\"]\n[outbound]\nsocks_tls = [\"127.0.0.1:80\"]",
        "inbound.http and outbound.socks_tls both want 127.0.0.1:80; give one of them another port",
    );
    let syntax = read("a = 1\nb = [", &[]).unwrap_err();
    assert!(syntax.starts_with(&format!("{FILE} line 2 is not valid TOML: ")), "{syntax}");
}

#[test]
fn a_wrong_variable_is_named() {
    for (variable, value, said) in [
        ("MOORGATE_LIMITS_HEAD", "ten", "limits.head is ten, but must be a time"),
        ("MOORGATE_OUTBOUND_HTTP", "127.0.0.1:1,,", "outbound.http is \"\", but must be an address"),
        ("MOORGATE_ACME_CONTACT", "ops", "acme.contact is ops, but must be where the CA may write to"),
        ("MOORGATE_METRICS_LISTEN", "a", "metrics.listen is not supported by this version"),
        ("MOORGATE_DNS_ZONE", "a..b", "dns.zone is a..b, but must be the name of a zone"),
        ("MOORGATE_CONSOLE_LISTEN", "192.0.2.1:7070", "console.listen is 192.0.2.1:7070, and off loopback"),
    ] {
        let error = read("", &[(variable, value)]).unwrap_err();
        assert!(error.starts_with(&format!("environment variable {variable}: {said}")), "{error}");
    }
}

#[test]
fn each_key_is_read_from_its_own_variable() {
    for key in keys::KEYS {
        let variable = key.variable();
        let error = read("", &[(variable.as_str(), "\u{1b}[31mno such value")]).map(|_| ());
        // Any text is a path.
        let any_text = matches!(key.name, "data_dir" | "master_key_file" | "previous_master_key_file");
        assert_eq!(error.is_ok(), any_text, "{variable}: {error:?}");
        assert!(error.err().is_none_or(|error| error.contains(&variable) && !error.contains('\u{1b}')), "{variable}");
    }
}

#[test]
fn a_secret_may_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("url");
    std::fs::write(&path, "sqlite\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(&*read("", &[("MOORGATE_STORE_URL_FILE", path)]).unwrap().store_url, "sqlite");
    let both = read("", &[("MOORGATE_STORE_URL_FILE", path), ("MOORGATE_STORE_URL", "sqlite")]).unwrap_err();
    assert_eq!(both, "both MOORGATE_STORE_URL and MOORGATE_STORE_URL_FILE are set; unset one of them");
    let missing = read("", &[("MOORGATE_STORE_URL_FILE", "/nowhere")]).unwrap_err();
    assert_eq!(missing, "cannot read /nowhere, which MOORGATE_STORE_URL_FILE names");
}

#[test]
fn the_master_key_may_be_a_systemd_credential() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())];
    assert_eq!(read("", &variables).unwrap().master_key_file, None);
    let credential = directory.path().join("master.key");
    std::fs::write(&credential, "x").unwrap();
    assert_eq!(read("", &variables).unwrap().master_key_file, Some(credential));
    let named = read("[secrets]\nmaster_key_file = \"/run/key\"", &variables).unwrap();
    assert_eq!(named.master_key_file, Some("/run/key".into()));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = check(Path::new("/nowhere/moorgate.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the gateway's file /nowhere/moorgate.toml");
    assert!(std::error::Error::source(&error).is_some());
}
