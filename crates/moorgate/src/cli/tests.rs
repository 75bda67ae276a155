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
        "moorgate token add --scope all",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
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
