//! `apply` and `export`.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read},
    path::Path,
};

use moorgate_api::{
    client::{Client, ClientError},
    view::{AppliedChange, AppliedText},
};
use serde_json::Value;

use super::CommandError;
use crate::{
    cli::deployment::Apply,
    output::{self, answer, counted},
};

/// Changes that are shown one by one; of more, how many they are.
const SHOWN: usize = 200;

pub(super) async fn apply(client: &Client, args: Apply) -> Result<(), CommandError> {
    let name = if args.file == Path::new("-") { "standard input".to_owned() } else { args.file.display().to_string() };
    let text = read(&args.file).map_err(|source| CommandError::File { path: args.file.clone(), source })?;
    let applied = client.apply(&text, args.dry_run, args.prune).await.map_err(|error| in_file(error, &name))?;
    answer(args.json, &applied, || said(&applied))
}

fn read(path: &Path) -> io::Result<String> {
    if path != Path::new("-") {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// What is wrong with a text is said with the file's name before its line.
fn in_file(error: ClientError, file: &str) -> CommandError {
    match error {
        ClientError::Refused(problem) if problem.detail.starts_with("line ") => {
            CommandError::Text { said: format!("{file} {}; nothing was changed", problem.detail) }
        }
        error => error.into(),
    }
}

pub(super) async fn export(client: &Client) -> Result<(), CommandError> {
    output::write(&client.export().await?)
}

fn said(applied: &AppliedText) -> String {
    let mut said = String::new();
    for change in applied.changes.iter().take(SHOWN) {
        said.push_str(&line(change));
    }
    let more = applied.changes.len().saturating_sub(SHOWN);
    if more > 0 {
        // Writing into a String can't fail.
        let _ = writeln!(said, "… and {more} more");
    }
    let count = |action| applied.changes.iter().filter(|change| change.action == action).count();
    let (added, set, removed) = (count("add"), count("set"), count("remove"));
    if applied.changes.is_empty() {
        said.push_str("no changes\n");
    } else {
        let done = if applied.applied { "" } else { " to be" };
        let _ = writeln!(said, "{added}{done} added, {set}{done} changed, {removed}{done} removed");
    }
    let _ = match applied.unnamed {
        0 => Ok(()),
        1 => writeln!(said, "1 more is there and not in the file; --prune removes it"),
        more => writeln!(said, "{more} more are there and not in the file; --prune removes them"),
    };
    said
}

/// `+ route a.example`, `- account b`, `~ tier c` with what is different below.
fn line(change: &AppliedChange) -> String {
    let AppliedChange { kind, name, action, before, after } = change;
    match (action.as_str(), before, after) {
        ("set", Some(before), Some(after)) => {
            let mut said = format!("~ {kind} {name}\n");
            differences("", before, after, &mut said);
            said
        }
        ("remove", Some(before), _) => {
            let with = |what: &str| before.get(what).and_then(Value::as_u64).filter(|count| *count > 0);
            let credentials = with("credentials").map(|count| counted(count, "credential", "credentials"));
            let tokens = with("tokens").map(|count| counted(count, "token", "tokens"));
            let with: Vec<String> = credentials.into_iter().chain(tokens).collect();
            let with = if with.is_empty() { String::new() } else { format!(" with its {}", with.join(" and ")) };
            format!("- {kind} {name}{with}\n")
        }
        ("remove", ..) => format!("- {kind} {name}\n"),
        _ => format!("+ {kind} {name}\n"),
    }
}

fn differences(at: &str, before: &Value, after: &Value, said: &mut String) {
    if before == after {
        return;
    }
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            differences(&at, before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null), said);
        }
        return;
    }
    let shown = |value: &Value| if value.is_null() { "(none)".to_owned() } else { value.to_string() };
    // Writing into a String can't fail.
    let _ = writeln!(said, "    {at}: {} → {}", shown(before), shown(after));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_shows_what_is_different_and_nothing_else() {
        let change = AppliedChange {
            kind: "route".into(),
            name: "a.example".into(),
            action: "set".into(),
            before: Some(json!({ "mode": "terminate", "settings": { "max_body": 1, "check": {} } })),
            after: Some(json!({ "mode": "terminate", "settings": { "check": { "every": 5 } } })),
        };
        assert_eq!(
            line(&change),
            "~ route a.example\n    settings.check.every: (none) → 5\n    settings.max_body: 1 → (none)\n"
        );
        let none = AppliedText { changes: vec![], unnamed: 2, applied: true };
        assert!(said(&none).starts_with("no changes\n2 more are there"));
    }
}
