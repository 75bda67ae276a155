//! The identity provider that lets people into the console: what the file says of it, and how it is asked.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Request;
use http_body_util::Full;
use moorgate_console::{Ask, OpenId};
use moorgate_control::Joining;
use moorgate_fetch::Fetch;
use moorgate_net::connect::Connector;
use moorgate_proxy::gateway::Gateway;
use moorgate_tls::{Originator, TrustRoots};

use super::UpError;
use crate::config::{Config, OpenIdKeys};

/// The most bytes of an answer: some providers show many keys.
const ANSWER_BYTES: usize = 1 << 20;

/// `None`: the file names none.
pub(super) fn provider(
    config: &Config,
    gateway: &Arc<Gateway>,
    connector: Connector,
) -> Result<Option<(OpenId, Ask)>, UpError> {
    let Some(keys) = &config.openid else { return Ok(None) };
    let roots = keys.trust.clone().map_or(TrustRoots::System, TrustRoots::Pem);
    let gateway = gateway.clone();
    let site = Arc::new(move || gateway.snapshot().site.clone());
    let fetch = Fetch::new(connector, Originator::new(roots)?, site);
    let ask = move |request: Request<Bytes>| {
        let fetch = fetch.clone();
        let asked = async move {
            let answer = fetch.ask(moorgate_fetch::gateway(), request.map(Full::new), Some(ANSWER_BYTES)).await;
            answer.map_err(|error| error.to_string())
        };
        asked.boxed()
    };
    Ok(Some((settings(keys), Arc::new(ask))))
}

fn settings(keys: &OpenIdKeys) -> OpenId {
    let host = || keys.issuer.trim_start_matches("https://").split('/').next().unwrap_or_default().to_owned();
    let joining = keys.joining.as_ref().map(|(account, role)| Joining { account: account.to_string(), role: *role });
    OpenId {
        issuer: keys.issuer.to_string(),
        client_id: keys.client_id.to_string(),
        client_secret: keys.client_secret.0.clone(),
        label: keys.name.as_deref().map_or_else(host, str::to_owned),
        trust_email: keys.trust_email,
        domains: keys.domains.iter().map(|domain| domain.as_str().to_owned()).collect(),
        joining,
    }
}
