//! `moorgate agent`: a local port for everything that cannot speak TLS to a proxy.
//!
//! What comes in as HTTP proxy or SOCKS5 goes on over one listener of the gateway, with the credential added and, for
//! Shield, over verified TLS. The gateway decides; the agent passes its answers on.

mod child;
mod dial;
mod error;
mod leg;
mod local;
mod request;
mod settings;
mod socks;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use moorgate_contract::limits::SWEEP;
use moorgate_net::{
    descriptors, listener,
    listener::pause_after,
    registry::{Moment, Registry},
    runtime::TcpStream,
};
use moorgate_wire::host::HostPort;
use tokio::{
    net::TcpListener,
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use dial::Dialer;
pub(crate) use error::AgentError;
pub(crate) use settings::Via;
use settings::{Gateway, Map};

/// Where the agent listens when nobody says otherwise and there is no command to be told. None of a gateway's own ports
/// on the same machine.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9290);
/// After the command's end, or a signal: how long open connections may take to finish.
const LINGER: Duration = Duration::from_secs(5);

/// Flags of `moorgate agent`.
#[derive(Args, Debug)]
pub(crate) struct AgentArgs {
    /// Which listener of the gateway to go through
    #[arg(long, value_enum, default_value_t = Via::Shield)]
    pub(crate) via: Via,
    /// Where programs find the agent [default: 127.0.0.1:9290; with COMMAND any free port of 127.0.0.1; with
    /// nothing but --map none]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Listen on 127.0.0.1:PORT and tunnel to HOST:PORT; may be given several times
    #[arg(long = "map", value_name = "PORT=HOST:PORT", value_parser = Map::parse)]
    pub(crate) maps: Vec<Map>,
    /// Run this with HTTP_PROXY, HTTPS_PROXY and ALL_PROXY set, and end when it ends
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Runs the agent until its command ends or, without one, until it is told to stop. The gateway comes from the
/// environment, else from `default.env` in `data_dir` (or in the default data directory).
///
/// # Errors
/// What kept it from starting. What goes wrong later is said on stderr and to the program that asked.
pub(crate) fn run(args: AgentArgs, data_dir: Option<PathBuf>) -> Result<ExitCode, AgentError> {
    let env = |name: &str| std::env::var(name).ok();
    let gateway = Gateway::find(args.via, data_dir, &env)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
    runtime.block_on(async {
        let agent = Agent::new(gateway)?;
        // Before a port is announced: whoever reads of it may stop us at once.
        let mut told = Told::listen()?;
        let proxy = Ports::open(&args)?.start(&agent)?;
        // A command always has a proxy port.
        let code = match args.command.split_first().zip(proxy) {
            Some(((program, arguments), proxy)) => child::run(program, arguments, proxy).await?,
            None => {
                told.once().await;
                ExitCode::SUCCESS
            }
        };
        // Anew: what was passed on to a command is no wish to cut its last connections.
        agent.drain(LINGER, Told::listen()?).await;
        Ok(code)
    })
}

/// What every local connection needs.
struct Agent {
    dialer: Dialer,
    registry: Registry,
    places: Arc<Semaphore>,
    /// Every local connection, and until the end whoever accepts them.
    connections: TaskTracker,
    /// Nothing new is accepted from now on.
    stop: CancellationToken,
}

impl Agent {
    fn new(gateway: Gateway) -> Result<Arc<Self>, AgentError> {
        let places = Arc::new(Semaphore::new(descriptors::connections()));
        Ok(Arc::new(Self {
            dialer: Dialer::new(gateway)?,
            registry: Registry::new(1),
            places,
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Accepts nothing new and lets what is open finish, for `limit` at most; a signal cuts it short.
    async fn drain(&self, limit: Duration, mut told: Told) {
        self.stop.cancel();
        self.connections.close();
        let why = tokio::select! {
            () = self.connections.wait() => return,
            () = tokio::time::sleep(limit) => format!("after {} s", limit.as_secs()),
            () = told.once() => "by a signal".to_owned(),
        };
        complain(format_args!("cut {why} what was still open: {}", self.connections.len()));
    }

    fn serve(self: &Arc<Self>, client: TcpStream, purpose: &Purpose, place: OwnedSemaphorePermit) {
        let (agent, purpose) = (self.clone(), purpose.clone());
        self.connections.spawn(async move {
            match purpose {
                Purpose::Proxy => local::serve(client, &agent).await,
                Purpose::Map(target) => local::map(client, &agent, &target).await,
            }
            drop(place);
        });
    }
}

/// What a local port is for.
#[derive(Clone, Debug)]
enum Purpose {
    Proxy,
    Map(HostPort),
}

/// The local ports, bound.
struct Ports {
    all: Vec<(TcpListener, Purpose)>,
    /// None when only mapped ports were asked for.
    proxy: Option<SocketAddr>,
    quiet: bool,
}

impl Ports {
    fn open(args: &AgentArgs) -> Result<Self, AgentError> {
        let quiet = !args.command.is_empty();
        let default = if quiet {
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        } else {
            args.maps.is_empty().then_some(DEFAULT_LISTEN)
        };
        let mut all = Vec::new();
        let mut proxy = None;
        if let Some(listen) = args.listen.or(default) {
            let (listener, bound) = bind(listen)?;
            if !bound.ip().is_loopback() {
                complain(format_args!("warning: whoever can reach {bound} can use your gateway credential through it"));
            }
            all.push((listener, Purpose::Proxy));
            proxy = Some(bound);
        }
        for Map { port, target } in &args.maps {
            let (listener, _) = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))?;
            all.push((listener, Purpose::Map(target.clone())));
        }
        Ok(Self { all, proxy, quiet })
    }

    /// Serves them from now on; returns where the proxy port is, if there is one.
    fn start(self, agent: &Arc<Agent>) -> Result<Option<SocketAddr>, AgentError> {
        for (listener, purpose) in self.all {
            if !self.quiet {
                let address = listener.local_addr().map_err(AgentError::Runtime)?;
                let what = match &purpose {
                    Purpose::Proxy => format!("HTTP proxy and SOCKS5, through {}", agent.dialer.gateway()),
                    Purpose::Map(target) => format!("tunnels to {target}"),
                };
                // Nobody has to listen.
                let _ = writeln!(io::stdout(), "listening  {address}  {what}");
            }
            agent.connections.spawn(accept(listener, purpose, agent.clone()));
        }
        let agent = agent.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                // What moved is counted by the gateway.
                agent.registry.sweep(0, Moment::now(), drop);
            }
        });
        Ok(self.proxy)
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AgentError> {
    let failed = |source| AgentError::Listen { address, source };
    let sockets = listener::bind(address, 1).map_err(failed)?;
    let socket = sockets.into_iter().next().ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let socket = TcpListener::from_std(socket).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

async fn accept(listener: TcpListener, purpose: Purpose, agent: Arc<Agent>) {
    let next = async || {
        // Who finds no place waits in the kernel's queue. The semaphore is never closed.
        let place = agent.places.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((client, _)) => return Some((place, client)),
                Err(error) => pause_after(error).await,
            }
        }
    };
    while let Some(Some((place, client))) = agent.stop.run_until_cancelled(next()).await {
        agent.serve(client.into(), &purpose, place);
    }
    // What the kernel holds by now was opened before the end, and may have said all it had to say.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok(place) = agent.places.clone().try_acquire_owned()
        && let Ok((client, _)) = listener.accept()
    {
        if let Ok(client) = client.set_nonblocking(true).and_then(|()| TcpStream::from_std(client)) {
            agent.serve(client, &purpose, place);
        }
    }
}

/// SIGINT and SIGTERM, from when this was made.
struct Told {
    interrupt: Signal,
    terminate: Signal,
}

impl Told {
    fn listen() -> Result<Self, AgentError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(AgentError::Runtime)?,
            terminate: signal(SignalKind::terminate()).map_err(AgentError::Runtime)?,
        })
    }

    /// Resolves with the next of them.
    async fn once(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// One line on stderr.
fn complain(what: impl std::fmt::Display) {
    // Whoever closed stderr does not want to know.
    let _ = writeln!(io::stderr(), "moorgate agent: {what}");
}

#[cfg(test)]
mod tests;
