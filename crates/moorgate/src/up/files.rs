//! What `up` leaves in the data directory for other programs: `gateway.json`, `default.env`, `operator.token`.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, SystemTime},
};

use moorgate_contract::{listener::Listener, snapshot::Snapshot};
use moorgate_control::{Control, Scope, Start};
use moorgate_keys::file;
use serde_json::json;
use tokio::time::sleep;

use super::{UpError, bind::Addresses, certificates::OwnCertificate};
use crate::{
    config::{Config, GATEWAY_FILE, Profile},
    proxy_urls::{DEFAULT_ENV, ProxyUrls},
};

/// The account that a first start without a file makes.
const DEFAULT_ACCOUNT: &str = "default";
const OPERATOR_TOKEN: &str = "operator.token";
/// Between two looks at whether the CA has issued.
const LOOK: Duration = Duration::from_secs(1);

/// Writes them; returns the proxy URLs of the account `default` where the loopback profile knows its password.
///
/// A token that a start which was killed half-way left unwritten is made anew.
pub(super) async fn write(
    config: &Config,
    addresses: &Addresses,
    control: &Control,
    start: &Start,
    issued: bool,
) -> Result<Option<ProxyUrls>, UpError> {
    let dir = &config.data_dir;
    let token_path = dir.join(OPERATOR_TOKEN);
    let token = match &start.operator_token {
        Some(token) => Some(token.token.reveal().to_owned()),
        None if token_path.exists() || start.degraded.is_some() => None,
        None => Some(control.add_token(None, Scope::Write).await?.token.reveal().to_owned()),
    };
    if let Some(token) = token {
        file::write_private(&token_path, format!("{token}\n").as_bytes())?;
    }
    let facts = facts(config, addresses, issued);
    let urls = match config.profile {
        Profile::Loopback => default_urls(dir, &facts, control, start).await?,
        Profile::File => None,
    };
    if let Some(urls) = &urls {
        file::write_private(&dir.join(DEFAULT_ENV), urls.env_file().as_bytes())?;
    }
    // Last: whoever sees this file may use everything else.
    file::write_public(&dir.join(GATEWAY_FILE), format!("{facts:#}\n").as_bytes())?;
    Ok(urls)
}

/// Writes `gateway.json` anew when the CA's certificate takes the place of the local CA's: clients then need to be told of
/// no CA, or of another.
pub(super) async fn keep(config: Config, addresses: Addresses, own: OwnCertificate) {
    let mut issued = own.is_issued();
    while !issued {
        sleep(LOOK).await;
        issued = own.is_issued();
    }
    let facts = facts(&config, &addresses, issued);
    if let Err(error) = file::write_public(&config.data_dir.join(GATEWAY_FILE), format!("{facts:#}\n").as_bytes()) {
        tracing::error!(%error, "{GATEWAY_FILE} still names the local CA");
    }
}

async fn default_urls(
    dir: &Path,
    facts: &serde_json::Value,
    control: &Control,
    start: &Start,
) -> Result<Option<ProxyUrls>, UpError> {
    let path = dir.join(DEFAULT_ENV);
    let (username, password) = if let Some((_, credential)) = &start.created_account {
        (credential.username.clone(), credential.password.reveal().to_owned())
    } else if let Some(written) = working(&path, &control.snapshot()) {
        // Ports may have moved since: the same credential, written anew.
        written
    } else if start.degraded.is_some() {
        // The sealed copy may not know the last change: nothing is judged by it.
        return Ok(None);
    } else if path.exists() {
        tracing::warn!(
            file = %path.display(),
            "removed: its credential was revoked or rotated; moorgate credential add {DEFAULT_ACCOUNT} makes another"
        );
        std::fs::remove_file(&path).map_err(|source| UpError::File { action: "remove", path, source })?;
        return Ok(None);
    } else if control.snapshot().account(DEFAULT_ACCOUNT).is_some()
        && control.list_credentials(DEFAULT_ACCOUNT).await?.is_empty()
    {
        let credential = control.add_credential(DEFAULT_ACCOUNT, Default::default()).await?;
        (credential.username.clone(), credential.password.reveal().to_owned())
    } else {
        return Ok(None);
    };
    Ok(Some(ProxyUrls::new(facts, &username, &password)))
}

/// Username and password in `default.env`, if they are let in.
fn working(path: &Path, snapshot: &Snapshot) -> Option<(String, String)> {
    let (username, password) = ProxyUrls::read(path)?.credential();
    let presented = Some((&*username, password.as_bytes()));
    snapshot.authenticate(presented, SystemTime::now().into()).is_ok().then_some((username, password))
}

/// The gateway is gone: nobody should look for it at addresses that another program may have tomorrow.
pub(super) fn remove(data_dir: &Path) {
    // Without the file clients say the same as with a stale one.
    let _ = std::fs::remove_file(data_dir.join(GATEWAY_FILE));
}

/// `issued`: whether the TLS listeners show a certificate of the CA of `[acme]`.
pub(super) fn facts(config: &Config, addresses: &Addresses, issued: bool) -> serde_json::Value {
    let private = config.acme.as_ref().and_then(|acme| acme.trust.clone());
    let ca = if issued { private } else { Some(config.data_dir.join("ca.pem")) };
    let listeners: serde_json::Map<_, _> = Listener::ALL
        .iter()
        .map(|listener| {
            let bound: Vec<String> = addresses.of(*listener).map(|address| address.to_string()).collect();
            (listener.name().to_owned(), json!(bound))
        })
        .collect();
    json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "profile": match config.profile { Profile::Loopback => "loopback", Profile::File => "file" },
        "hostname": hostname(config, addresses),
        "listeners": listeners,
        "dns": addresses.dns,
        "api": format!("http://{}", addresses.api),
        "console": console_url(config, addresses),
        "ca": ca,
        "trust_proxy_protocol_from": config.load_balancers,
    })
}

/// Where people find the console.
pub(super) fn console_url(config: &Config, addresses: &Addresses) -> String {
    match &config.console_hostname {
        Some(name) if !addresses.console.ip().is_loopback() => match addresses.console.port() {
            443 => format!("https://{name}"),
            port => format!("https://{name}:{port}"),
        },
        _ => format!("http://{}", addresses.console),
    }
}

/// What clients write into proxy URLs: the configured name; without one the address that is listened on, so that
/// `localhost` can't lead to the other family first.
fn hostname(config: &Config, addresses: &Addresses) -> String {
    let configured = config.hostname.to_string();
    let bound = addresses.of(Listener::OutboundHttp).map(|address: SocketAddr| address.ip());
    match bound.filter(|ip: &IpAddr| !ip.is_unspecified()).min_by_key(IpAddr::is_ipv6) {
        Some(ip) if configured == "localhost" => ip.to_string(),
        _ => configured,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use moorgate_contract::{
        account::{Account, AccountId, Credential, CredentialId, Load, Pepper, Secret, SecretId},
        policy::Policy,
        snapshot::Site,
    };

    use super::*;

    #[test]
    fn a_password_that_is_not_let_in_any_more_is_not_handed_out_again() {
        let pepper = || Pepper::new([7; 32]);
        let mut snapshot = Snapshot::empty(Arc::new(Site::default()), pepper());
        let account = AccountId(1);
        snapshot.put_account(Account {
            id: account,
            name: DEFAULT_ACCOUNT.into(),
            policy: Policy::new(Vec::new()),
            policy_cuts: 0,
            egress: Default::default(),
            load: Load::default(),
            quota: None,
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        let facts = json!({"listeners": {"outbound_http": ["127.0.0.1:9293"]}});
        std::fs::write(file.path(), ProxyUrls::new(&facts, "mg_a", "old").env_file()).unwrap();
        let mut rotate = |password: &str| {
            let hash = pepper().hash("mg_a", password.as_bytes());
            let secrets = vec![Secret { id: SecretId(1), hash, until: None }];
            snapshot.put_credential(Credential {
                id: CredentialId(1),
                account,
                username: "mg_a".into(),
                secrets,
                expires: None,
                clients: Vec::new(),
                policy: None,
                policy_cuts: 0,
            });
            working(file.path(), &snapshot)
        };
        assert_eq!(rotate("old"), Some(("mg_a".into(), "old".into())));
        assert_eq!(rotate("new"), None);
    }
}
