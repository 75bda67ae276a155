//! `moorgate up`: the wiring of a gateway, on one page. The only place that sees both towers.

mod banner;
mod bind;
mod certificates;
mod dns;
mod error;
mod files;
mod openid;
mod pages;
mod plane;
mod record;

use std::{
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use clap::Args;
use moorgate_acme::{Binding, Ca, Fetch};
use moorgate_alarm::{Courier, Mail};
use moorgate_api::{
    metrics::{MetricSources, Metrics},
    server::{self, ApiState, Door},
};
use moorgate_contract::{
    account::Pepper,
    certificate::ChallengeKind,
    guard::Guard,
    limits::Limits,
    listener::Listener,
    snapshot::{Site, Snapshot},
    time::Timestamp,
};
use moorgate_control::{
    AlarmSettings, CaSettings, Control, ControlError, DNS_LISTENER, EgressView, Itself, Settings, ZoneSettings,
};
use moorgate_keys::{MasterKey, MasterKeys, file};
use moorgate_net::{
    connect::Connector,
    presence::PresenceWatch,
    resolver::{Resolver, system_servers},
    workers::{self, Workers},
};
use moorgate_proxy::{gateway::Gateway, look_after_origins, recorder, serve::serve};
use moorgate_tls::{Originator, TrustRoots};
use nix::{
    sys::resource::{Resource, setrlimit},
    unistd::gethostname,
};
use rustix::process::setpriority_process;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

pub(crate) use error::UpError;

use crate::config::{self, Config, Profile};
use bind::{Addresses, Bound, Sockets};
use certificates::{CA_KEY, Certificates};
use plane::TrafficPlane;

/// Flags of `moorgate up`.
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// The gateway's file (TOML). Without it: everything on loopback
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The master key that a first start makes, unless it is given one.
const OWN_KEY: &str = "master.key";
/// Threads of the control runtime. Traffic has runtimes of its own.
const CONTROL_THREADS: usize = 2;
/// How much they, and those of the store that they start, stand back (nice(2)) where a core is busy with traffic: what
/// they do has time, and a request that waits for them does not.
const CONTROL_NICE: i32 = 10;
/// After everything was cut, how long its records may take.
const AFTER_CUT: Duration = Duration::from_secs(2);

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// What kept it from starting, in words.
pub(crate) fn run(args: UpArgs, data_dir: Option<PathBuf>) -> Result<(), UpError> {
    let began = Instant::now();
    let env = |name: &str| std::env::var(name).ok();
    let config = config::load(args.config.as_deref(), data_dir, &env)?;
    record::start_tracing(config.log_format);
    let panics = record::count_panics();
    forbid_core_dumps();
    let runtime = control_runtime()?;
    // Traffic's names are resolved apart from control, whose runtime may stall.
    let resolving = resolving_runtime()?;
    let workers = workers::count();

    // Whatever is taken or forbidden fails here, before anything is created.
    let bound = Bound::bind(&config, workers).map_err(|error| error.of_running(&config.data_dir))?;
    file::private_dir(&config.data_dir)?;
    let (master_keys, made_key) = load_master_keys(&config, true)?;
    let mut certificates = Certificates::open(&config, &bound.addresses, &master_keys)?;

    let presence = PresenceWatch::start(config.egress.clone()).map_err(UpError::Thread)?;
    let site = Arc::new(site(&config, &bound.addresses));
    let (sink, reports, dropped) = recorder::queue();
    // Nobody is in it: no password is ever hashed with this one.
    let pepper = Pepper::new([0; 32]);
    let gateway = Arc::new(Gateway::new(
        Arc::new(Snapshot::empty(site.clone(), pepper)),
        connector(&config, &presence, resolving.handle())?,
        config.limits.clone(),
        certificates.terminators()?,
        workers,
        sink,
    ));

    let plane = Arc::new(TrafficPlane::new(
        gateway.clone(),
        connector(&config, &presence, runtime.handle())?,
        certificates.own(),
    ));
    let settings = Settings {
        data_dir: config.data_dir.clone(),
        store_url: config.store_url.to_string(),
        master_keys,
        gateway: itself(&config, &bound.addresses),
        local_ca: certificates.ca(),
        site,
        zone: zone(&config),
        ca: ca(&config, &bound.addresses, &gateway, connector(&config, &presence, runtime.handle())?)?,
        alarms: Some(alarms(&config, &bound.addresses, &gateway, &presence, runtime.handle())?),
        egress: config.egress.clone(),
        usage: reports.usage(),
        keep_flows: config.keep_flows,
        keep_usage: config.keep_usage,
        make_default_account: config.profile == Profile::Loopback,
        plane,
    };
    // On a thread of its runtime, so that the store's threads stand back as well.
    let opened = runtime.spawn(Control::open(settings));
    let opened = runtime.block_on(opened).map_err(|error| UpError::Thread(error.into()))?;
    let (control, mut start) = opened.map_err(|error| not_opened(error, made_key, &config))?;
    certificates.settle(start.local_ca.take(), &config.data_dir, control.master_keys())?;
    let state = Arc::new(AtomicU8::new(STARTING));
    let metrics = Arc::new(Metrics::new(sources(&gateway, &control, dropped, panics)));
    let recording = record::start(&runtime, &config, &control, metrics.clone(), reports)?;

    let addresses = bound.addresses.clone();
    let Sockets { mut traffic, console, api: beside, dns } = bound.sockets;
    let traffic = Workers::start(workers, |worker| {
        let mine = traffic.get_mut(worker).map(std::mem::take).unwrap_or_default();
        serve(gateway.clone(), worker, mine)
    })
    .map_err(UpError::Thread)?;
    let (stop_api, api_stopped) = watch::channel(());
    let api = ApiState { control: control.clone(), metrics, ready: ready(&state), version: env!("CARGO_PKG_VERSION") };
    let console_door = match (&config.console_hostname, certificates.console()?) {
        (Some(hostname), Some(terminator)) => Door::Tls { terminator, hostname: hostname.clone() },
        _ => Door::Loopback,
    };
    let provider = openid::provider(&config, &gateway, connector(&config, &presence, runtime.handle())?)?;
    let pages = pages::router(&config, &addresses, &control, certificates.proxy(), provider);
    let doors = [(console, console_door)].into_iter().chain(beside.map(|beside| (beside, Door::Loopback)));
    let apis: Vec<_> = doors
        .map(|(listener, door)| {
            runtime.spawn(serve_api(listener, door, api.clone(), pages.clone(), api_stopped.clone()))
        })
        .collect();
    drop(api_stopped);
    let own = certificates.proxy();
    runtime.spawn(certificates.keep_fresh());
    runtime.spawn(look_after_origins(gateway.clone()));
    if let Some(apex) = config.zone.clone() {
        let _inside = runtime.enter();
        dns::start(apex, dns, gateway.clone(), &control).map_err(UpError::Thread)?;
    }

    // Before anyone can know that it runs, and so stop it.
    let mut stop = Stop::listen(&runtime)?;
    let urls = runtime.block_on(files::write(&config, &addresses, &control, &start, own.is_issued()))?;
    runtime.spawn(files::keep(config.clone(), addresses.clone(), own));
    state.store(READY, Ordering::Release);
    let link = runtime.block_on(pages::first_link(&config, &addresses, &control, &start));
    banner::print(&config, &addresses, &start, urls.as_ref(), link.as_deref(), began);

    runtime.block_on(stop.asked());
    state.store(DRAINING, Ordering::Release);
    control.leave();
    banner::stopping(gateway.registry.len(), &config.limits);
    drain(&runtime, &gateway, traffic, &config.limits, &mut stop);
    drop(stop_api);
    runtime.block_on(async {
        // The API answers /readyz with 503 until here; its own drain is bounded.
        for api in apis {
            let _ = api.await;
        }
        recording.finish().await;
        control.close().await;
    });
    files::remove(&config.data_dir);
    runtime.shutdown_background();
    resolving.shutdown_background();
    Ok(())
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

fn ready(state: &Arc<AtomicU8>) -> server::Ready {
    let state = state.clone();
    Arc::new(move || match state.load(Ordering::Acquire) {
        READY => Ok(()),
        DRAINING => Err("draining".to_owned()),
        _ => Err("starting".to_owned()),
    })
}

fn control_runtime() -> Result<Runtime, UpError> {
    Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .on_thread_start(stand_back)
        .enable_all()
        .build()
        .map_err(UpError::Thread)
}

fn resolving_runtime() -> Result<Runtime, UpError> {
    let builder = &mut Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("resolver").enable_all().build().map_err(UpError::Thread)
}

fn stand_back() {
    // `None` is this thread (setpriority(2)). Nothing but a latency depends on it.
    if let Err(error) = setpriority_process(None, CONTROL_NICE) {
        tracing::debug!(%error, "a thread of control stays as urgent as traffic");
    }
}

/// Keys are in memory: a crash must not write them down. One byte rather than none, because a limit of 0 does not hold
/// for dumps that are piped to a program, and 1 does (core(5)).
fn forbid_core_dumps() {
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 1, 1) {
        tracing::warn!(%error, "core dumps can't be forbidden: a crash may write keys to a file");
    }
}

/// Why control could not be opened.
fn not_opened(error: ControlError, made_key: bool, config: &Config) -> UpError {
    if !(made_key && matches!(error, ControlError::WrongMasterKey { .. })) {
        return error.into();
    }
    // The one that this start has made is the wrong one for the next, too. If it stays, that one is told so.
    let _ = file::remove(&config.data_dir.join(OWN_KEY));
    UpError::NoKeyGiven(error.into())
}

/// The master key, and the one before, if that is named. One that is not named anywhere is made, if it may be. Says whether
/// it was made now.
pub(crate) fn load_master_keys(config: &Config, may_make: bool) -> Result<(MasterKeys, bool), UpError> {
    let own = config.data_dir.join(OWN_KEY);
    let (current, made) = match (&config.master_key, &config.master_key_file) {
        (Some(key), _) => (MasterKey::parse(&key.0)?, false),
        (None, Some(file)) => (MasterKey::load(file)?, false),
        // A new one would open nothing of what is here, and be in the way of the right one.
        (None, None) if may_make && !own.exists() && config.data_dir.join(CA_KEY).exists() => {
            return Err(UpError::KeyLost { path: own });
        }
        (None, None) if may_make => MasterKey::load_or_create(&own)?,
        (None, None) if own.exists() => (MasterKey::load(&own)?, false),
        (None, None) => return Err(UpError::NoMasterKey { path: own }),
    };
    let previous = config.previous_master_key_file.as_deref().map(MasterKey::load).transpose()?;
    Ok((MasterKeys { current, previous }, made))
}

/// What other gateways on the store are told of this one.
fn itself(config: &Config, addresses: &Addresses) -> Itself {
    let listeners =
        Listener::ALL.into_iter().map(|listener| (listener.name().to_owned(), addresses.of(listener).collect()));
    let bound = listeners.filter(|(_, bound): &(_, Vec<_>)| !bound.is_empty());
    Itself {
        name: itself_named(config),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: bound
            .chain([("console".to_owned(), vec![addresses.console])])
            .chain((!addresses.dns.is_empty()).then(|| (DNS_LISTENER.to_owned(), addresses.dns.clone())))
            .collect(),
    }
}

/// What this gateway is called among those on its store.
pub(crate) fn itself_named(config: &Config) -> String {
    config.gateway_name.as_deref().map_or_else(|| default_name(config), str::to_owned)
}

/// After the host, and after the data directory: two gateways of one host differ in that, and a restart does not change it.
fn default_name(config: &Config) -> String {
    let host = gethostname()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c))
        .collect::<String>();
    let path = config.data_dir.as_os_str().as_bytes();
    // FNV-1a: short, and the same in every version.
    let hash = path.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{}-{:04x}", if host.is_empty() { "gateway" } else { &host }, hash & 0xffff)
}

fn zone(config: &Config) -> Option<ZoneSettings> {
    let name = config.zone.clone()?;
    let named = [&config.zone_resolvers, &config.resolvers].into_iter().find(|named| !named.is_empty());
    let resolvers = named.map_or_else(system_servers, Clone::clone);
    Some(ZoneSettings { name, addresses: config.zone_addresses.clone(), resolvers })
}

fn ca(
    config: &Config,
    addresses: &Addresses,
    gateway: &Arc<Gateway>,
    connector: Connector,
) -> Result<Option<CaSettings>, UpError> {
    let Some(acme) = &config.acme else { return Ok(None) };
    let roots = acme.trust.clone().map_or(TrustRoots::System, TrustRoots::Pem);
    let gateway = gateway.clone();
    let site = Arc::new(move || gateway.snapshot().site.clone());
    let ca = Ca {
        directory: acme.directory.to_string(),
        contact: acme.contact.as_deref().map(str::to_owned),
        binding: acme
            .binding
            .as_ref()
            .map(|(key_id, hmac_key)| Binding { key_id: key_id.to_string(), hmac_key: hmac_key.0.clone() }),
        profile: acme.profile.as_deref().map(str::to_owned),
        fetch: Fetch::new(connector, Originator::new(roots)?, site),
    };
    let listens = |listener| addresses.of(listener).next().is_some();
    let kinds = [(ChallengeKind::Http, Listener::InboundHttp), (ChallengeKind::TlsAlpn, Listener::InboundTls)];
    Ok(Some(CaSettings {
        ca,
        own: certificates::own_names(config),
        kinds: kinds.into_iter().filter(|(_, listener)| listens(*listener)).map(|(kind, _)| kind).collect(),
        by_dns: config.zone.is_some() && !addresses.dns.is_empty(),
    }))
}

/// How alarms reach people.
fn alarms(
    config: &Config,
    addresses: &Addresses,
    gateway: &Arc<Gateway>,
    presence: &PresenceWatch,
    runtime: &Handle,
) -> Result<AlarmSettings, UpError> {
    let gateway = gateway.clone();
    let site = Arc::new(move || gateway.snapshot().site.clone());
    let webhooks =
        moorgate_fetch::Fetch::new(connector(config, presence, runtime)?, Originator::new(TrustRoots::System)?, site);
    let mail = match &config.smtp {
        Some(smtp) => {
            if let Some(path) = &smtp.password_file {
                let read = std::fs::read_to_string(path);
                read.map_err(|source| UpError::File { action: "read", path: path.clone(), source })?;
            }
            Some(Mail::new(smtp.clone(), connector(config, presence, runtime)?)?)
        }
        None => None,
    };
    Ok(AlarmSettings { courier: Courier::new(webhooks, mail), console_url: files::console_url(config, addresses) })
}

/// A connector whose queries run on `runtime`.
fn connector(config: &Config, presence: &PresenceWatch, runtime: &Handle) -> Result<Connector, UpError> {
    Ok(Connector::new(Resolver::new(&config.resolvers, runtime.clone())?, presence.clone(), &config.limits))
}

fn site(config: &Config, addresses: &Addresses) -> Site {
    // Random, so that two gateways in a row never take each other's requests for a loop.
    let id = getrandom::u32().unwrap_or_else(|_| std::process::id());
    Site {
        gateway: format!("moorgate-{id:08x}").into(),
        guard: Guard { allowed: config.allowed_networks.clone(), own: addresses.all().collect(), ..Guard::default() },
        hostname: config.hostname.to_string().into(),
        loopback_profile: config.profile == Profile::Loopback,
        load_balancers: config.load_balancers.clone(),
        inbound_tls_port: addresses.of(Listener::InboundTls).next().map(|address| address.port()),
    }
}

fn sources(
    gateway: &Arc<Gateway>,
    control: &Control,
    dropped: recorder::Dropped,
    panics: Arc<AtomicU64>,
) -> MetricSources {
    let (open, tunnels, snapshot) = (gateway.clone(), gateway.clone(), gateway.clone());
    let (control, ports_of) = (control.clone(), control.clone());
    let (certificates_of, ends_of) = (control.clone(), control.clone());
    MetricSources {
        open_connections: Box::new(move || {
            Listener::ALL.iter().map(|listener| (*listener, open.open_connections(*listener) as u64)).collect()
        }),
        open_tunnels: Box::new(move || tunnels.registry.len() as u64),
        flows_dropped: Box::new(move || dropped.count()),
        snapshot_version: Box::new(move || snapshot.snapshot().version),
        egress: Box::new(move || control.egress().into_iter().map(|egress| (egress.address, egress.present)).collect()),
        ports_free: Box::new(move || {
            let ports = |egress: EgressView| Some((egress.address, u64::try_from(egress.ports?.free()).ok()?));
            ports_of.egress().into_iter().filter_map(ports).collect()
        }),
        certificates: Box::new(move || {
            let counts = certificates_of.certificate_counts();
            let states = [
                ("added", counts.added),
                ("issued", counts.issued),
                ("ordered", counts.ordered),
                ("failing", counts.failing),
            ];
            states.into_iter().map(|(state, count)| (state, u64::try_from(count).unwrap_or(u64::MAX))).collect()
        }),
        certificate_end: Box::new(move || ends_of.certificate_counts().next_end.map(Timestamp::seconds)),
        panics: Box::new(move || panics.load(Ordering::Relaxed)),
        version: env!("CARGO_PKG_VERSION"),
    }
}

async fn serve_api(
    listener: std::net::TcpListener,
    door: Door,
    state: ApiState,
    pages: Router,
    mut stopped: watch::Receiver<()>,
) {
    let stopped = async {
        // It never changes: it is over when the other end is gone.
        let _ = stopped.changed().await;
    };
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => server::serve(listener, door, state, pages, stopped).await,
        Err(error) => tracing::error!(%error, "the console's listener can't be served"),
    }
}

/// SIGTERM and Ctrl-C, from when it is made: none in between is lost, or ends the process without a drain.
struct Stop {
    term: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen(runtime: &Runtime) -> Result<Self, UpError> {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).map_err(UpError::Thread);
        Ok(Self { term: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Accepts nothing new and lets what is open finish, up to the drain limit; a second signal cuts it short.
fn drain(runtime: &Runtime, gateway: &Gateway, traffic: Workers, limits: &Limits, stop: &mut Stop) {
    gateway.connections.close();
    gateway.drain.cancel();
    tracing::info!(open = gateway.registry.len(), limit = ?limits.drain, "draining; a second signal cuts what is open");
    runtime.block_on(async {
        let finished = tokio::select! {
            () = gateway.connections.wait() => true,
            () = tokio::time::sleep(limits.drain) => false,
            () = stop.asked() => false,
        };
        if !finished {
            let cut = gateway.cut_all();
            tracing::warn!(cut, "what was still open has been cut");
            // What is left now waits in a head or a refusal: nothing that a record would be lost of.
            let _ = tokio::time::timeout(AFTER_CUT, gateway.connections.wait()).await;
        }
    });
    if gateway.connections.is_empty() {
        traffic.join();
    }
}
