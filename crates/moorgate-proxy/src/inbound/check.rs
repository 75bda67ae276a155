//! What is done about origins without traffic: checks, for routes that ask for them, and the end of connections that were
//! kept for requests that did not come.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moorgate_contract::{
    account::AccountId,
    failure::{Code, Failure},
    inbound::Routed,
    route::{Domain, HostFor, Mode, Origin, OriginUrl, Route, RouteId},
};
use moorgate_net::{runtime::timeout, socket::Socket};
use moorgate_wire::{
    http1::{Headers, Method, encode_request},
    proxy_protocol::Fields,
};
use tokio::{io::AsyncWriteExt as _, sync::Semaphore};

use super::{
    origin::{introduction, link},
    served::Served,
};
use crate::{exchange::receiving::Reading, gateway::Gateway};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_secs(1);
/// Checks under way at once.
const AT_ONCE: usize = 256;
/// Those of one account: its origins that hang must not keep others' from being looked at.
const AT_ONCE_OF_ACCOUNT: usize = 64;
/// One check, from the first SYN to the head of the response.
const CHECK: Duration = Duration::from_secs(5);

/// Looks after origins until the gateway drains. Runs beside traffic: not on a thread that carries any.
pub async fn look_after_origins(gateway: Arc<Gateway>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut of_account: HashMap<AccountId, Arc<Semaphore>> = HashMap::new();
    let mut due: HashMap<(RouteId, OriginUrl), Duration> = HashMap::new();
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = gateway.drain.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (now, snapshot) = (gateway.clock(), gateway.snapshot().clone());
        let mut next = HashMap::with_capacity(due.len());
        of_account.retain(|_, places| places.available_permits() < AT_ONCE_OF_ACCOUNT);
        gateway.waiting.prune();
        for route in snapshot.checked_routes() {
            let Some(every) = route.settings.check.every else { continue };
            let Some(account) = snapshot.account_of(route) else { continue };
            for origin in route.pools().flat_map(|pool| pool.origins()) {
                let key = (route.id, origin.url.clone());
                let at = due.get(&key).copied().unwrap_or(now);
                if at > now {
                    next.insert(key, at);
                    continue;
                }
                // Without a place it is looked at later: what waits must not pile up.
                let own = || Arc::new(Semaphore::new(AT_ONCE_OF_ACCOUNT));
                let own = of_account.entry(account.id).or_insert_with(own).clone().try_acquire_owned();
                let (Ok(own), Ok(place)) = (own, places.clone().try_acquire_owned()) else {
                    next.insert(key, now);
                    continue;
                };
                next.insert(key, now + Duration::from_secs(every.into()));
                let (gateway, origin) = (gateway.clone(), origin.clone());
                let routed = Routed { route: route.clone(), account: account.clone() };
                tokio::spawn(async move {
                    check(&gateway, &routed, &origin).await;
                    drop((own, place));
                });
            }
        }
        due = next;
    }
}

async fn check(gateway: &Gateway, routed: &Routed, origin: &Origin) {
    let looked = timeout(CHECK, look(gateway, routed, origin)).await;
    let found = looked.unwrap_or_else(|_| {
        Err(Failure::new(Code::ConnectTimeout, format_args!("no answer within {} s", CHECK.as_secs())))
    });
    if !origin.health.checked(found.is_ok(), gateway.clock()) {
        return;
    }
    let route = &routed.route.domain;
    match found {
        Ok(()) => tracing::info!(%route, origin = %origin.url, "an origin is back: its check succeeds"),
        Err(failure) => tracing::warn!(%route, origin = %origin.url, %failure, "an origin is down: its checks fail"),
    }
}

async fn look(gateway: &Gateway, routed: &Routed, origin: &Origin) -> Result<(), Failure> {
    let snapshot = gateway.snapshot().clone();
    let connected = gateway.connector.connect(&snapshot.site, &routed.plan(origin), CHECK).await;
    let mut stream = connected.map_err(|not| not.failure)?.stream;
    let route = &routed.route;
    let Some(path) = route.settings.check.path.as_deref().filter(|_| route.mode == Mode::Terminate) else {
        return Ok(());
    };
    let served = Served::of(gateway, &snapshot, route);
    let broken = |error: std::io::Error| Failure::new(Code::ResponseIncomplete, error);
    if let Some(version) = route.settings.proxy_protocol {
        // The client is ourselves.
        let (own, peer) = (stream.local_addr().map_err(broken)?, stream.peer_addr().map_err(broken)?);
        stream.write_all(&introduction(version, own, peer, Fields::default())).await.map_err(broken)?;
    }
    let link = link(&served, origin, Socket::from(stream), false, CHECK).await?;
    let (reader, mut writer) = tokio::io::split(link);
    writer.write_all(&request(route, origin, path)).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    let status =
        Reading::new(reader).head(&Method::GET).await.map_err(|broke| broke.failure(&origin.url.to_string()))?.status;
    if (200..400).contains(&status) {
        return Ok(());
    }
    Err(Failure::new(Code::ResponseMalformed, format_args!("{path} was answered with {status}")))
}

fn request(route: &Route, origin: &Origin, path: &str) -> Vec<u8> {
    // As the requests of clients have it.
    let host = match (&route.domain, route.settings.origin_host) {
        (Domain::Exact(name), HostFor::Client) => name.to_string(),
        _ => origin.url.authority(),
    };
    let headers = Headers::from_iter([("user-agent", "moorgate-check")]);
    encode_request(&Method::GET, path, &host, &headers)
}
