//! The console of this gateway: where its proxies are, what clients have to trust, and the way in for the first operator.

use std::{io::IsTerminal as _, sync::Arc};

use axum::Router;
use moorgate_console::{Ask, Console, Doors, OpenId, ProxyUrl};
use moorgate_contract::listener::Listener;
use moorgate_control::{Control, Standing, Start};

use super::{
    bind::Addresses,
    certificates::OwnCertificate,
    files::{console_url, facts},
};
use crate::{
    config::Config,
    proxy_urls::{ProxyUrls, VARIABLES},
};

/// Every page.
pub(super) fn router(
    config: &Config,
    addresses: &Addresses,
    control: &Control,
    own: OwnCertificate,
    provider: Option<(OpenId, Ask)>,
) -> Router {
    let reached = |listener: Listener| {
        addresses.of(listener).next().map(|mut address| {
            if address.ip().is_unspecified() {
                let loopback = if address.is_ipv6() { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() };
                address.set_ip(loopback);
            }
            address
        })
    };
    let doors = Doors {
        proxy: reached(Listener::OutboundHttp),
        inbound_tls: reached(Listener::InboundTls),
        inbound_http: reached(Listener::InboundHttp),
    };
    let facts = facts(config, addresses, own.is_issued());
    let proxy_urls = move |username: &str, password: &str| {
        let all = ProxyUrls::new(&facts, username, password);
        let listener = |variable| Some(VARIABLES.iter().find(|(own, ..)| *own == variable)?.1);
        let urls = all.variables().filter_map(|(variable, url)| Some((variable, listener(variable)?, url)));
        urls.map(|(variable, listener, url)| ProxyUrl { variable, listener, url }).collect()
    };
    let private = config.acme.as_ref().and_then(|acme| acme.trust.clone());
    let local = config.data_dir.join("ca.pem");
    let proxy_ca = move || {
        let path = if own.is_issued() { private.as_ref()? } else { &local };
        std::fs::read_to_string(path).ok()
    };
    let url = console_url(config, addresses);
    let mut console = Console::new(control.clone(), Arc::new(proxy_urls), Arc::new(proxy_ca), &url);
    console.doors = doors;
    console.sign_up = config.sign_up;
    if let Some((settings, ask)) = provider {
        console = console.with_provider(settings, ask);
    }
    moorgate_console::router(console)
}

/// The link by which the first operator comes in; `None`: this is no first start.
pub(super) async fn first_link(
    config: &Config,
    addresses: &Addresses,
    control: &Control,
    start: &Start,
) -> Option<String> {
    // Whoever reads a journal is no operator by that, and a link that nobody sees must not wait for anybody.
    if !start.first || !std::io::stdout().is_terminal() {
        return None;
    }
    let made = control.invite(None, Standing::Operator).await.ok()?;
    Some(format!("{}/welcome/{}", console_url(config, addresses), made.token.reveal()))
}
