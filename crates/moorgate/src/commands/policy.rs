//! `policy`.

use std::fmt::Write;

use moorgate_api::{
    client::Client,
    view::{PolicyEdit, PolicyRules},
};
use moorgate_contract::policy::Effect;

use super::CommandError;
use crate::{
    cli::Policy,
    output::{answer, shown, when},
};

pub(super) async fn run(client: &Client, command: Policy) -> Result<(), CommandError> {
    match command {
        Policy::Show { account, json } => {
            let policy = client.policy(&account).await?;
            answer(json, &policy, || {
                lines(&policy).into_iter().map(|line| line + "\n").collect::<String>() + &rest(&account, &policy)
            })
        }
        Policy::Set { account, rules, dry_run, cut, json } => {
            let edit = client.set_policy(&account, &rules.0, dry_run, cut).await?;
            answer(json, &edit, || changed(&account, &edit, cut))
        }
    }
}

/// One for each rule, with its number.
fn lines(policy: &PolicyRules) -> Vec<String> {
    (1..).zip(&policy.rules).map(|(number, rule): (u32, _)| format!("rule {number}  {}", rule.text())).collect()
}

/// What holds where no rule matches.
fn rest(account: &str, policy: &PolicyRules) -> String {
    if policy.rules.is_empty() {
        return format!("account {account} has no rules: everything but port 25 is allowed\n");
    }
    let allows = policy.rules.iter().any(|rule| rule.effect == Effect::Allow);
    let rest = if allows { "refused" } else { "allowed, on every port but 25" };
    format!("what no rule matches is {rest}\n")
}

fn changed(account: &str, edit: &PolicyEdit, cut: bool) -> String {
    let mut text = String::new();
    let unchanged = edit.before == edit.after;
    if unchanged {
        text.push_str("no changes\n");
    } else {
        let (before, after) = (lines(&edit.before), lines(&edit.after));
        let gone = before.iter().filter(|line| !after.contains(line)).map(|line| ('-', line));
        let new = after.iter().filter(|line| !before.contains(line)).map(|line| ('+', line));
        for (sign, line) in gone.chain(new) {
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    if edit.after.rules.is_empty() {
        let has = if edit.applied { "now has" } else { "would have" };
        let _ = writeln!(text, "account {account} {has} no rules: everything but port 25 is allowed");
    } else if !unchanged {
        text.push_str(&rest(account, &edit.after));
    }
    text.push_str(&replayed(edit));
    text.push_str(match (edit.applied, cut, unchanged) {
        (false, ..) => "dry run: nothing was changed\n",
        (true, false, true) => "",
        (true, true, true) => "open connections that these rules refuse are cut\n",
        (true, false, false) => "new connections meet these rules from now on; open ones stay\n",
        (true, true, false) => "new connections meet these rules from now on; open ones that they refuse are cut\n",
    });
    text
}

/// What the last week would have been.
fn replayed(edit: &PolicyEdit) -> String {
    let Some(since) = edit.since.filter(|_| !edit.applied) else { return String::new() };
    let flows = |count: usize| if count == 1 { "1 flow".to_owned() } else { format!("{count} flows") };
    let of = if edit.is_partial { " of this gateway alone (the store can't be asked now)" } else { "" };
    let mut text = format!("tried on {}{of} since {}", flows(edit.replayed), when(since));
    let none = edit.refuses.is_empty() && edit.allows.is_empty();
    text.push_str(if none { ": none would have been decided otherwise\n" } else { "\n" });
    if edit.unjudged > 0 {
        // Writing into a String can't fail.
        let _ = writeln!(
            text,
            "  not judged: {}, refused then before there was an address that rules could be asked about",
            flows(edit.unjudged)
        );
    }
    for (targets, said) in [(&edit.refuses, "would have been refused"), (&edit.allows, "would have been allowed")] {
        for target in targets {
            let (to, why) = (shown(&target.target), shown(&target.said));
            // Writing into a String can't fail.
            let _ = writeln!(text, "  {said}: {to}  {} ({why})", flows(target.flows));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use moorgate_api::view::PolicyRule;

    use super::*;

    #[test]
    fn an_edit_shows_what_went_and_what_came() {
        let policy = |rules: &[(Effect, &str)]| PolicyRules {
            rules: rules
                .iter()
                .map(|(effect, matcher)| PolicyRule { effect: *effect, matcher: matcher.parse().unwrap() })
                .collect(),
        };
        let edit = PolicyEdit {
            applied: false,
            before: policy(&[(Effect::Deny, "a.example"), (Effect::Deny, "b.example")]),
            after: policy(&[(Effect::Deny, "a.example"), (Effect::Allow, "*.c.example:443")]),
            replayed: 0,
            unjudged: 0,
            is_partial: false,
            since: None,
            refuses: Vec::new(),
            allows: Vec::new(),
        };
        assert_eq!(
            changed("acme", &edit, false),
            "- rule 2  deny b.example\n+ rule 2  allow *.c.example:443\nwhat no rule matches is refused\n\
             dry run: nothing was changed\n"
        );
        let cleared = PolicyEdit { applied: true, after: policy(&[]), ..edit };
        assert_eq!(
            changed("acme", &cleared, false),
            "- rule 1  deny a.example\n- rule 2  deny b.example\n\
             account acme now has no rules: everything but port 25 is allowed\n\
             new connections meet these rules from now on; open ones stay\n"
        );
    }
}
