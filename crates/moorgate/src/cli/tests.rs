use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command)
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn rules_keep_the_order_in_which_they_were_typed() {
    let line = "moorgate policy set acme --allow a.example --deny *.b.example:443 --allow 10.0.0.0/8 --deny c.example --dry-run";
    let Command::Policy(Policy::Set { rules, dry_run: true, cut: false, .. }) = parse(line).unwrap() else { panic!() };
    let texts: Vec<String> = rules.0.rules.iter().map(PolicyRule::text).collect();
    assert_eq!(texts, ["allow a.example", "deny *.b.example:443", "allow 10.0.0.0/8", "deny c.example"]);
}

#[test]
fn wrong_usage_exits_with_2() {
    for line in [
        "moorgate",
        "moorgate nonsense",
        "moorgate policy set acme --allow 127.1",
        "moorgate credential rotate acme mg_a --overlap soon",
        "moorgate credential rotate acme mg_a --overlap 1500ms",
        "moorgate explain acme example.com",
        "moorgate explain acme ::1:443",
        "moorgate why nope",
        "moorgate account set acme",
        "moorgate account set acme --egress nine",
        "moorgate credential set acme mg_a",
        "moorgate credential set acme mg_a --cut",
        "moorgate credential set acme mg_a --no-policy --allow a.example",
        "moorgate credential add acme --expires soon",
        "moorgate credential add acme --from 127.1",
        "moorgate tier set",
        "moorgate tier set gold --bytes-per-month 20gb",
        "moorgate tier set gold --grace 300",
        "moorgate usage --since yesterday",
        "moorgate usage --by week",
        "moorgate usage --csv --json",
        "moorgate audit list --limit 0",
        "moorgate gateway show",
        "moorgate token add --scope all",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
}

#[test]
fn sizes_are_read_in_powers_of_ten_and_of_two() {
    use super::tenant::Size;
    for (text, bytes) in [("0", 0), ("1000000", 1_000_000), ("5B", 5), ("500MB", 500_000_000), ("20GiB", 20 << 30)] {
        assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
    }
    for text in ["", "MB", "1.5GB", "-1", "1 MB", "99999999999999999999", "99999999TiB"] {
        assert_eq!(text.parse::<Size>(), Err(Unreadable::Size), "{text}");
    }
}

#[test]
fn a_credentials_end_and_networks_can_be_taken_away() {
    let set = |line: &str| match parse(line).unwrap() {
        Command::Credential(Credential::Set { bounds, .. }) => bounds,
        other => panic!("{other:?}"),
    };
    let bounds = set("moorgate credential set acme mg_a --expires never --from any");
    assert_eq!((bounds.expires(), bounds.clients()), (Some(None), Some(vec![])));
    let bounds = set("moorgate credential set acme mg_a --from 192.0.2.1 --from 10.0.0.0/8");
    assert_eq!(bounds.expires(), None);
    assert_eq!(bounds.clients().unwrap(), ["192.0.2.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
    let at = set("moorgate credential set acme mg_a --expires 2100-01-01T00:00:00Z").expires().flatten().unwrap();
    assert_eq!(at.to_string(), "2100-01-01T00:00:00Z");
    let ahead = set("moorgate credential set acme mg_a --expires 90d").expires().flatten().unwrap();
    assert!(ahead.0 > std::time::SystemTime::now().into());
}

#[test]
fn a_target_that_is_not_canonical_can_be_explained() {
    for (text, host, port) in
        [("0x7f.1:80", "0x7f.1", 80), ("[::1]:443", "[::1]", 443), ("a.example:25", "a.example", 25)]
    {
        assert_eq!(text.parse(), Ok(Target { host: host.into(), port }), "{text}");
    }
}

#[test]
fn overlaps_are_read_in_seconds_minutes_hours_and_days() {
    for (text, seconds) in [("0", 0), ("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)] {
        assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
}
