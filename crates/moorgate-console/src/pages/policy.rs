//! Where an account's apps may go, and what would be decided.

use askama::Template;
use axum::{extract::State, response::Response};
use http::StatusCode;
use moorgate_contract::{
    failure::Code,
    policy::{Effect, Matcher, Policy, Rule},
};
use moorgate_control::{By, Replay, Replayed};
use moorgate_wire::{host::Asked, visible::visible};
use serde::Deserialize;

use super::{Frame, drawn_as, failed};
use crate::{
    Console,
    form::{Form, Query},
    given,
    guard::{Changing, From, Inside},
    shown,
};

/// Destinations that are named of a policy that was only tried.
const NAMED: usize = 50;

/// What the last week would have been.
struct Tried {
    /// How many flows were looked at, and since when.
    looked_at: String,
    rows: Vec<Otherwise>,
    notes: Vec<String>,
}

/// Flows to a destination that would have been decided otherwise.
struct Otherwise {
    to: String,
    flows: String,
    class: &'static str,
    would: &'static str,
    why: String,
}

impl Tried {
    fn of(replay: &Replay) -> Self {
        let flows = shown::counted(replay.flows, "flow");
        let looked_at = match replay.since {
            Some(since) => format!("{flows} looked at, since {}.", shown::time(since)),
            None => "No flow of the last week is recorded: there is nothing to try these rules on.".to_owned(),
        };
        let row = |class, would| {
            move |it: &Replayed| Otherwise {
                to: visible(&*it.target).to_string(),
                flows: shown::number(it.flows as u64),
                class,
                would,
                why: visible(&*it.said).to_string(),
            }
        };
        let refused = replay.refused.iter().take(NAMED).map(row("problem", "refused instead of let through"));
        let allowed = replay.allowed.iter().take(NAMED).map(row("good", "let through instead of refused"));
        let rows: Vec<Otherwise> = refused.chain(allowed).collect();
        let mut notes = Vec::new();
        if rows.is_empty() && replay.flows > 0 {
            notes.push("None would have been decided otherwise.".to_owned());
        }
        let unnamed = (replay.refused.len() + replay.allowed.len()).saturating_sub(rows.len());
        if unnamed > 0 {
            notes.push(format!("And {} more.", shown::counted(unnamed, "destination")));
        }
        if replay.unjudged > 0 {
            let unjudged = shown::counted(replay.unjudged, "flow");
            notes.push(format!(
                "Not judged: {unjudged}, refused then before there was an address that rules could be asked about."
            ));
        }
        if replay.is_partial {
            notes.push("These are the flows of this gateway alone: the store can't be asked now.".to_owned());
        }
        Self { looked_at, rows, notes }
    }
}

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    frame: Frame,
    account: String,
    may_change: bool,
    rules: String,
    cut: bool,
    tried: Option<Tried>,
    problem: Option<String>,
    done: Option<&'static str>,
    ask: String,
    steps: Vec<(String, String)>,
    verdict: Option<(bool, String)>,
}

impl PolicyPage {
    fn of(inside: &Inside, rules: String) -> Self {
        Self {
            frame: Frame::of_account(&inside.visitor, &inside.account, "/policy"),
            account: inside.account.clone(),
            may_change: inside.may_change(),
            rules,
            cut: false,
            tried: None,
            problem: None,
            done: None,
            ask: String::new(),
            steps: Vec::new(),
            verdict: None,
        }
    }

    /// Answers what was asked: by the rules that hold, or by those that are tried.
    async fn judge(&mut self, console: &Console, account: &str, ask: String, tried: Option<&Policy>) {
        let target = given::target(&ask);
        self.ask = ask;
        if target.is_empty() {
            return;
        }
        let asked = match Asked::from_authority(&target, Some(443)) {
            Ok(asked) => asked,
            Err(error) => {
                self.verdict = Some((false, error.to_string()));
                return;
            }
        };
        let by = By { policy: tried, ..By::default() };
        let which = if tried.is_some() { " by the rules above, which are not saved" } else { "" };
        match console.control.explain(account, by, &asked, true).await {
            Err(error) => self.verdict = Some((false, error.to_string())),
            Ok(explained) => {
                self.steps = explained.steps.into_iter().map(|step| (step.check, step.found)).collect();
                self.verdict = Some(match explained.refusal {
                    None => (true, format!("{target} is allowed{which}.")),
                    Some(refusal) if refusal.code == Code::PolicyDenied => {
                        (false, format!("{target} is refused{which}: {}", refusal.said))
                    }
                    // The rules have nothing against it.
                    Some(refusal) => (false, format!("{target} can't be reached now: {}", refusal.said)),
                });
            }
        }
    }
}

fn lines(policy: &Policy) -> String {
    policy.rules().iter().map(|rule| format!("{rule}\n")).collect()
}

#[derive(Deserialize)]
pub(crate) struct Question {
    #[serde(default)]
    ask: String,
}

pub(crate) async fn page(
    State(console): State<Console>,
    inside: Inside,
    Query(Question { ask }): Query<Question>,
) -> Response {
    let policy = match console.control.policy(&inside.account).await {
        Ok(policy) => policy,
        Err(error) => return failed(&error),
    };
    let mut page = PolicyPage::of(&inside, lines(&policy));
    page.judge(&console, &inside.account, ask, None).await;
    drawn_as(StatusCode::OK, &page)
}

#[derive(Deserialize)]
pub(crate) struct Edited {
    #[serde(default)]
    rules: String,
    #[serde(default)]
    cut: String,
    /// Only to be tried on what was asked for.
    #[serde(default, rename = "try")]
    only_try: String,
    /// Only to be asked about this.
    #[serde(default)]
    judge: String,
    #[serde(default)]
    ask: String,
}

pub(crate) async fn set(
    State(console): State<Console>,
    Changing(inside): Changing,
    from: From,
    Form(edited): Form<Edited>,
) -> Response {
    let cut = !edited.cut.is_empty();
    let wrong = |said: String, rules: String| {
        let page = PolicyPage { problem: Some(said), cut, ..PolicyPage::of(&inside, rules) };
        drawn_as(StatusCode::BAD_REQUEST, &page)
    };
    let policy = match read(&edited.rules) {
        Ok(policy) => policy,
        Err(said) => return wrong(said, edited.rules),
    };
    if !edited.judge.is_empty() {
        let saved = console.control.policy(&inside.account).await.ok();
        let tried = Some(&policy).filter(|policy| saved.as_ref() != Some(policy));
        let mut page = PolicyPage { cut, ..PolicyPage::of(&inside, edited.rules) };
        page.judge(&console, &inside.account, edited.ask, tried).await;
        return drawn_as(StatusCode::OK, &page);
    }
    let control = inside.asks(&console, from);
    if !edited.only_try.is_empty() {
        return match control.replay(&inside.account, &policy).await {
            Ok(replay) => {
                let tried = Some(Tried::of(&replay));
                drawn_as(StatusCode::OK, &PolicyPage { tried, cut, ..PolicyPage::of(&inside, edited.rules) })
            }
            Err(error) => wrong(error.to_string(), edited.rules),
        };
    }
    let rules = lines(&policy);
    match control.set_policy(&inside.account, policy, cut).await {
        Ok(()) => drawn_as(
            StatusCode::OK,
            &PolicyPage { done: Some("The new rules hold from now on."), ..PolicyPage::of(&inside, rules) },
        ),
        Err(error) => wrong(error.to_string(), edited.rules),
    }
}

/// Rules as they are written, one a line.
fn read(text: &str) -> Result<Policy, String> {
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number: u32 = number;
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let effect = match &*word.to_ascii_lowercase() {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            _ => return Err(format!("Line {number} begins with {word:?}: write allow or deny, then a host.")),
        };
        let matcher: Matcher = rest.trim().parse().map_err(|error| format!("Line {number}: {error}"))?;
        rules.push(Rule { effect, matcher });
    }
    Ok(Policy::new(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        let text = "allow api.example.com:443\ndeny *.example.com\ndeny 192.0.2.0/24\n";
        assert_eq!(lines(&read(text).unwrap()), text);
        assert_eq!(lines(&read("# partners\n  ALLOW   a.example.com  \r\n\n").unwrap()), "allow a.example.com\n");
        for (bad, said) in
            [("permit a", "Line 1 begins with \"permit\""), ("allow a\ndeny", "Line 2: "), ("allow 127.1", "Line 1: ")]
        {
            assert!(read(bad).unwrap_err().starts_with(said), "{bad}");
        }
    }
}
