//! `credential`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use moorgate_api::{
    client::Client,
    view::{self, PolicyRules, Time},
};
use moorgate_control::CredentialStanding;
use moorgate_keys::file::write_private;
use nix::unistd::geteuid;
use serde::Serialize;

use super::{CommandError, gateway::Gateway};
use crate::{
    cli::{Bounds, Credential, Json},
    output::{self, Table, answer, called, duration, end, note, shown, when},
    proxy_urls::{DEFAULT_ENV, ProxyUrls},
};

pub(super) async fn run(gateway: &Gateway, command: Credential) -> Result<(), CommandError> {
    let client = &gateway.client;
    match command {
        Credential::Add { account, bounds, json } => {
            let add = view::AddCredential {
                name: bounds.name.clone().unwrap_or_default(),
                expires: bounds.expires().flatten(),
                clients: bounds.clients().unwrap_or_default(),
                policy: rules(&bounds),
            };
            show_new(gateway, &client.add_credential(&account, &add).await?, json)
        }
        Credential::Set { account, username, bounds, no_policy, cut, json } => {
            let change = view::ChangeCredential {
                name: bounds.name.clone(),
                expires: bounds.expires(),
                clients: bounds.clients(),
                policy: if no_policy { Some(None) } else { rules(&bounds).map(Some) },
            };
            let credential = client.change_credential(&account, &username, &change, cut).await?;
            answer(json, &credential, || changed(&credential, cut))
        }
        Credential::List { account, json } => {
            let credentials = client.credentials(&account).await?;
            answer(json, &credentials, || list(&account, &credentials))
        }
        Credential::Show { account, username, json } => {
            let credential = client.credential(&account, &username).await?;
            answer(json, &credential, || show(&account, &credential))
        }
        Credential::Rotate { account, username, overlap, json } => {
            let new = client.rotate_credential(&account, &username, overlap).await?;
            // Before anything that can fail: the old password is, or soon will be, worth nothing.
            let rewritten = rewrite_default_env(gateway, &new);
            show_new(gateway, &new, json)?;
            note(old_password(overlap, overlap_until(client, &account, &username).await));
            rewritten.into_iter().for_each(note);
            Ok(())
        }
        Credential::Revoke { account, username } => {
            client.revoke_credential(&account, &username).await?;
            let removed = remove_default_env(gateway, &username);
            output::print(&format!("credential {username} revoked; its open connections are cut\n"))?;
            removed.into_iter().for_each(note);
            Ok(())
        }
    }
}

/// The one time that a password is shown.
#[derive(Serialize)]
struct Shown<'a> {
    username: &'a str,
    password: &'a str,
    env: BTreeMap<&'static str, String>,
}

fn show_new(gateway: &Gateway, new: &view::NewCredential, json: Json) -> Result<(), CommandError> {
    let view::NewCredential { username, password } = new;
    // None when the gateway's listeners can't be known from here.
    let urls = gateway.facts.as_ref().map(|facts| ProxyUrls::new(facts, username, password));
    let text = match &urls {
        Some(urls) => urls.env_file(),
        None => format!("username={username}\npassword={password}\n"),
    };
    let env = urls.iter().flat_map(ProxyUrls::variables).collect();
    answer(json, &Shown { username, password, env }, || text)?;
    if urls.is_none() {
        note(
            "no proxy URLs: the gateway is asked through MOORGATE_API and its gateway.json is not here, so its listeners \
             are not known; they are of the form http://USERNAME:PASSWORD@HOST:9293",
        );
    }
    Ok(())
}

/// When the old password of a rotation ends, by the gateway's own clock.
async fn overlap_until(client: &Client, account: &str, username: &str) -> Option<Time> {
    // The new password stands either way; this is only to be told.
    let credentials = client.credentials(account).await.ok()?;
    credentials.into_iter().find(|credential| credential.username == username)?.overlap_until
}

fn old_password(overlap: Duration, until: Option<Time>) -> String {
    match until {
        _ if overlap.is_zero() => "the old password has ended; connections that it opened are cut".into(),
        Some(until) => format!("the old password works until {}", when(until)),
        None => {
            let micros = u64::try_from(overlap.as_micros()).unwrap_or(u64::MAX);
            format!("the old password works for {} more", duration(micros))
        }
    }
}

/// The gateway's `default.env`, when it holds this credential.
fn default_env(gateway: &Gateway, username: &str) -> Option<PathBuf> {
    let path = gateway.dir.as_ref()?.join(DEFAULT_ENV);
    ProxyUrls::read(&path).filter(|urls| urls.credential().0 == username).map(|_| path)
}

/// Puts a new password into `default.env` if the file holds the credential; returns what to tell about it.
fn rewrite_default_env(gateway: &Gateway, new: &view::NewCredential) -> Option<String> {
    let path = default_env(gateway, &new.username)?;
    let shown = path.display();
    if !is_ours(&path) {
        // A file in its place would be ours, and its owner's gateway could not read it.
        return Some(format!("{shown} still has the old password and is another user's: put the new URLs into it"));
    }
    let urls = ProxyUrls::new(gateway.facts.as_ref()?, &new.username, &new.password);
    Some(match write_private(&path, urls.env_file().as_bytes()) {
        Ok(()) => format!("{shown} has the new password"),
        Err(error) => {
            format!("{shown} still has the old password ({}): put the new URLs into it", output::chain(&error))
        }
    })
}

fn is_ours(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.uid() == geteuid().as_raw())
}

/// Removes `default.env` if it holds a credential that is gone; returns what to tell about it.
fn remove_default_env(gateway: &Gateway, username: &str) -> Option<String> {
    let path = default_env(gateway, username)?;
    Some(match fs::remove_file(&path) {
        Ok(()) => format!("{} removed: it held that credential", path.display()),
        Err(error) => format!("{} holds that credential and cannot be removed: {error}", path.display()),
    })
}

/// The rules that were given; `None`: none were.
fn rules(bounds: &Bounds) -> Option<PolicyRules> {
    Some(bounds.rules.0.clone()).filter(|policy| !policy.rules.is_empty())
}

fn changed(credential: &view::Credential, cut: bool) -> String {
    let bounds = bounds_of(credential);
    let bounds = if bounds.is_empty() { "is bound to nothing of its own".into() } else { bounds.join("; ") };
    let open = if cut { "open ones that its rules refuse are cut" } else { "open ones stay" };
    format!(
        "credential {}: {bounds}\nnew connections follow from now on; {open}\n",
        called(&credential.username, &credential.name)
    )
}

/// What a credential is bound to, each in a few words.
pub(super) fn bounds_of(credential: &view::Credential) -> Vec<String> {
    let mut bounds = Vec::new();
    bounds.extend(credential.expires.map(|expires| match end(expires) {
        over if over.starts_with("EXPIRED") => over,
        day => format!("until {day}"),
    }));
    if !credential.clients.is_empty() {
        let nets: Vec<String> = credential.clients.iter().map(ToString::to_string).collect();
        bounds.push(format!("from {}", nets.join(", ")));
    }
    bounds.extend(credential.policy.as_ref().map(|policy| match policy.rules.len() {
        1 => "1 rule".into(),
        rules => format!("{rules} rules"),
    }));
    bounds.extend(credential.overlap_until.map(|until| format!("old password until {}", when(until))));
    bounds
}

fn list(account: &str, credentials: &[view::Credential]) -> String {
    if credentials.is_empty() {
        return format!("account {account} has no credentials; make one with: moorgate credential add {account}\n");
    }
    let mut table = Table::new(["USERNAME", "NAME", "STANDING", "LAST USED", "FROM", "BOUND TO"]);
    for credential in credentials {
        let used = credential.last_used.map_or_else(|| "–".into(), when);
        let from = credential.last_client.map_or_else(|| "–".into(), |client| client.to_string());
        let bounds = bounds_of(credential);
        let bounds = if bounds.is_empty() { "–".into() } else { bounds.join("; ") };
        let name = if credential.name.is_empty() { "–".into() } else { shown(&credential.name) };
        table.row([credential.username.clone(), name, standing(credential).into(), used, from, bounds]);
    }
    table.to_string()
}

fn standing(credential: &view::Credential) -> &'static str {
    if credential.problem.is_some() {
        return "NOT SERVED";
    }
    match credential.standing {
        CredentialStanding::InUse => "in use",
        CredentialStanding::NeverUsed => "never used",
        CredentialStanding::Stopped => "stopped",
        CredentialStanding::Expired => "EXPIRED",
        CredentialStanding::Unknown => "unknown",
    }
}

fn to_the_second(expires: Time) -> String {
    match end(expires) {
        over if over.starts_with("EXPIRED") => over,
        _ => when(expires),
    }
}

fn show(account: &str, credential: &view::Credential) -> String {
    let from = credential.last_client.map(|client| format!(", from {client}")).unwrap_or_default();
    let used = match (credential.last_used, credential.standing) {
        (Some(at), _) => format!("{}{from}", when(at)),
        (None, CredentialStanding::Unknown) => "the store can't be asked now".into(),
        (None, _) => "never".into(),
    };
    let nets: Vec<String> = credential.clients.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "credential  {}\n{}account     {}\nstanding    {}\nlast used   {used}\ncreated     {}\nexpires     {}\nfrom        {}\n",
        credential.username,
        if credential.name.is_empty() { String::new() } else { format!("name        {}\n", shown(&credential.name)) },
        shown(account),
        standing(credential),
        when(credential.created),
        credential.expires.map_or_else(|| "never".into(), to_the_second),
        if nets.is_empty() { "anywhere".into() } else { nets.join(", ") },
    );
    if let Some(problem) = &credential.problem {
        let _ = writeln!(text, "not served  {}", shown(problem));
    }
    let passwords = match credential.overlap_until {
        Some(until) => format!("{}, the old one until {}", credential.passwords, when(until)),
        None => credential.passwords.to_string(),
    };
    // Writing into a String can't fail.
    let _ = writeln!(text, "passwords   {passwords}");
    match &credential.policy {
        None => text.push_str("rules       none of its own; the account's hold (moorgate policy show ACCOUNT)\n"),
        Some(policy) => {
            text.push_str("rules       these, and the account's\n");
            for (number, rule) in (1_u32..).zip(&policy.rules) {
                let _ = writeln!(text, "  rule {number}  {}", rule.text());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A gateway whose `default.env` holds a credential of this username.
    fn gateway(dir: &Path, username: &str) -> Gateway {
        let facts = json!({"hostname": "localhost", "listeners": {"outbound_http": ["127.0.0.1:9293"]}});
        let urls = ProxyUrls::new(&facts, username, "before");
        write_private(&dir.join(DEFAULT_ENV), urls.env_file().as_bytes()).unwrap();
        let client = Client::new("http://127.0.0.1:1", "mgt_a").unwrap();
        Gateway {
            client,
            facts: Some(facts),
            dir: Some(dir.to_owned()),
            asked_by_file: true,
            data_dir_flag: String::new(),
        }
    }

    #[test]
    fn default_env_follows_its_credential_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway(dir.path(), "mg_a");
        let file = dir.path().join(DEFAULT_ENV);
        let new = |username: &str| view::NewCredential { username: username.into(), password: "after".into() };
        assert_eq!(rewrite_default_env(&gateway, &new("mg_b")), None);
        assert_eq!(ProxyUrls::read(&file).unwrap().credential().1, "before");
        let said = rewrite_default_env(&gateway, &new("mg_a")).unwrap();
        assert!(said.ends_with("default.env has the new password"), "{said}");
        assert_eq!(ProxyUrls::read(&file).unwrap().credential().1, "after");
        assert_eq!(remove_default_env(&gateway, "mg_b"), None);
        assert!(remove_default_env(&gateway, "mg_a").is_some() && !file.exists());
        assert_eq!(rewrite_default_env(&gateway, &new("mg_a")), None);
    }

    #[test]
    fn a_rotation_says_until_when_the_old_password_works() {
        assert!(old_password(Duration::ZERO, None).contains("has ended"));
        assert!(old_password(Duration::from_secs(86_400), None).ends_with("for 24 h 0 m more"));
        let until = "2030-01-02T03:04:05Z".parse().unwrap();
        assert!(old_password(Duration::from_secs(1), Some(until)).contains("works until 2030-01-0"));
    }
}
