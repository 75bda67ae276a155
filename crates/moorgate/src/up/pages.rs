//! The console of this gateway: where its proxies are, what clients have to trust, and the way in for the first operator.

use std::{io::IsTerminal as _, sync::Arc};

use axum::Router;
use moorgate_console::{Console, Doors};
use moorgate_contract::listener::Listener;
use moorgate_control::{Control, Standing, Start};

use super::{
    bind::Addresses,
    certificates::OwnCertificate,
    files::{console_url, hostname},
};
use crate::config::Config;

/// Every page.
pub(super) fn router(config: &Config, addresses: &Addresses, control: &Control, own: OwnCertificate) -> Router {
    let port = |listener| addresses.of(listener).next().map(|address| address.port());
    let own_http = addresses.of(Listener::OutboundHttp).next().map(|mut address| {
        if address.ip().is_unspecified() {
            let loopback = if address.is_ipv6() { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() };
            address.set_ip(loopback);
        }
        address
    });
    let doors = Doors {
        host: hostname(config, addresses),
        http: port(Listener::OutboundHttp),
        socks: port(Listener::OutboundSocks),
        https: port(Listener::OutboundHttps),
        socks_tls: port(Listener::OutboundSocksTls),
        own_http,
    };
    let private = config.acme.as_ref().and_then(|acme| acme.trust.clone());
    let local = config.data_dir.join("ca.pem");
    let proxy_ca = move || {
        let path = if own.is_issued() { private.as_ref()? } else { &local };
        std::fs::read_to_string(path).ok()
    };
    let url = console_url(config, addresses);
    let mut console = Console::new(control.clone(), doors, Arc::new(proxy_ca), &url);
    console.sign_up = config.sign_up;
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
