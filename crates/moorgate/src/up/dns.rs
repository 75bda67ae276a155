//! The server of the zone: on a thread of its own, by what is served and by which gateways are well.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use moorgate_contract::route::CnameTarget;
use moorgate_control::{Control, ZoneFacts};
use moorgate_dns::{
    server::{Server, Sockets, Source},
    zone::{Targets, Zone},
};
use moorgate_proxy::gateway::Gateway;
use moorgate_wire::name::DomainName;
use tokio::{runtime::Builder, task::JoinHandle, time::sleep};

/// Between two looks at which gateways are well.
const LOOK: Duration = Duration::from_secs(1);

/// The zone as it is now, and the targets in it.
struct Answering {
    zone: ArcSwapOption<Zone>,
    gateway: Arc<Gateway>,
}

impl Source for Answering {
    fn zone(&self) -> Option<Arc<Zone>> {
        self.zone.load_full()
    }

    fn targets(&self) -> &dyn Targets {
        self
    }
}

impl Targets for Answering {
    fn target(&self, label: &str) -> Option<CnameTarget> {
        self.gateway.snapshot().target(label)
    }
}

/// Answers for the zone from now on, until the process ends; and says so where its names lead nowhere.
///
/// # Errors
/// Its thread or its sockets can't be used.
pub(super) fn start(
    apex: DomainName,
    sockets: Vec<Sockets>,
    gateway: Arc<Gateway>,
    control: &Control,
) -> io::Result<JoinHandle<()>> {
    let answering = Arc::new(Answering { zone: ArcSwapOption::empty(), gateway });
    let mut known = None;
    let control = control.clone();
    answering.look(&apex, &mut known, &control);
    if known.as_ref().is_some_and(|facts: &ZoneFacts| facts.addresses.is_empty()) {
        tracing::warn!(
            zone = %apex,
            "no public address of this gateway is known, so the names in its zone lead nowhere; set [dns] addresses"
        );
    }
    if !sockets.is_empty() {
        let source: Arc<dyn Source> = answering.clone();
        serve(sockets, source)?;
    }
    Ok(tokio::spawn(async move {
        loop {
            sleep(LOOK).await;
            answering.look(&apex, &mut known, &control);
        }
    }))
}

/// Its own thread: whoever asks much takes neither from traffic nor from control.
fn serve(sockets: Vec<Sockets>, source: Arc<dyn Source>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let server = {
        let _inside = runtime.enter();
        Server::start(sockets, &source)?
    };
    thread::Builder::new().name("dns".to_owned()).spawn(move || {
        runtime.block_on(std::future::pending::<()>());
        drop(server);
    })?;
    Ok(())
}

impl Answering {
    fn look(&self, apex: &DomainName, known: &mut Option<ZoneFacts>, control: &Control) {
        let facts = control.zone();
        if facts == *known {
            return;
        }
        if let Some(ZoneFacts { servers, addresses }) = &facts {
            // A later one is larger, as RFC 1982 counts.
            let serial = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() as u32);
            match Zone::new(apex, serial, servers, addresses) {
                Ok(zone) => self.zone.store(Some(Arc::new(zone))),
                Err(error) => tracing::error!(%error, "the zone can't be answered for"),
            }
            tracing::info!(zone = %apex, addresses = %list(addresses), "the names in the zone lead to the gateways that are well");
        }
        *known = facts;
    }
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}
