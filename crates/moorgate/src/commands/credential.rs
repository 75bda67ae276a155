//! `credential`.

use std::collections::BTreeMap;

use moorgate_api::view;
use serde::Serialize;

use super::{CommandError, gateway::Gateway};
use crate::{
    cli::{Credential, Json},
    output::{self, Table, answer, when},
    proxy_urls::ProxyUrls,
};

pub(super) async fn run(gateway: &Gateway, command: Credential) -> Result<(), CommandError> {
    let client = &gateway.client;
    match command {
        Credential::Add { account, json } => show_new(gateway, client.add_credential(&account).await?, json),
        Credential::List { account, json } => {
            let credentials = client.credentials(&account).await?;
            answer(json, &credentials, || list(&account, &credentials))
        }
        Credential::Rotate { account, username, overlap, json } => {
            show_new(gateway, client.rotate_credential(&account, &username, overlap).await?, json)
        }
        Credential::Revoke { account, username } => {
            client.revoke_credential(&account, &username).await?;
            output::print(&format!("credential {username} revoked; its open connections are cut\n"))
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

fn show_new(gateway: &Gateway, new: view::NewCredential, json: Json) -> Result<(), CommandError> {
    let view::NewCredential { username, password } = &new;
    // None when the gateway's listeners can't be known from here.
    let urls = gateway.facts.as_ref().map(|facts| ProxyUrls::new(facts, username, password));
    let text = match &urls {
        Some(urls) => urls.env_file(),
        None => format!("username={username}\npassword={password}\n"),
    };
    let env = urls.iter().flat_map(ProxyUrls::variables).collect();
    answer(json, &Shown { username, password, env }, || text)
}

fn list(account: &str, credentials: &[view::Credential]) -> String {
    if credentials.is_empty() {
        return format!("account {account} has no credentials; make one with: moorgate credential add {account}\n");
    }
    let mut table = Table::new(["USERNAME", "CREATED", "OLD PASSWORD WORKS UNTIL"]);
    for credential in credentials {
        let until = credential.overlap_until.map_or_else(|| "–".into(), when);
        table.row([credential.username.clone(), when(credential.created), until]);
    }
    table.to_string()
}
