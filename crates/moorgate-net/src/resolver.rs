//! Names to addresses: one resolver, shared, with a bounded cache and a single flight per name.
//!
//! Never getaddrinfo, which takes `0x7f.1` for a name's address; names are resolved as they stand, without search domains.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::Name,
};
use moka::{Expiry, future::Cache};
use moorgate_contract::{
    failure::{Code, Failure},
    limits::CACHED_NAMES,
};
use moorgate_wire::name::DomainName;
use thiserror::Error;
use tokio::runtime::Handle;

/// An answer is kept at least this long, whatever its TTL: a TTL of 0 must not make every connection a query.
const FLOOR: Duration = Duration::from_secs(1);
/// And at most this long.
const CEILING: Duration = Duration::from_secs(600);
/// How long "there is no such name" is kept.
const NEGATIVE: Duration = Duration::from_secs(5);
/// The port of DNS (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;
/// One query to one server.
const QUERY: Duration = Duration::from_millis(1500);

/// A resolver that can't be set up.
#[derive(Debug, Error)]
pub enum ResolverError {
    /// The resolver refused its settings.
    #[error("cannot set up the resolver with these servers")]
    Setup(#[source] NetError),
}

/// What a lookup found, and until when that holds.
#[derive(Clone, Debug)]
struct Answer {
    addresses: Result<Arc<[IpAddr]>, Failure>,
    keep: Duration,
}

struct ByTtl;

impl Expiry<DomainName, Answer> for ByTtl {
    fn expire_after_create(&self, _: &DomainName, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.keep)
    }
}

/// The resolver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    resolver: TokioResolver,
    /// Where its queries run, whoever asks.
    runtime: Handle,
    cache: Cache<DomainName, Answer>,
}

impl Resolver {
    /// Asks `servers`, on `runtime`; without any, the system's. The hosts file is honoured.
    ///
    /// # Errors
    /// When there is nobody to ask.
    pub fn new(servers: &[SocketAddr], runtime: Handle) -> Result<Self, ResolverError> {
        let (config, mut options) = if servers.is_empty() {
            system()
        } else {
            let servers = servers.iter().map(|server| {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut config.connections {
                    connection.port = server.port();
                }
                config
            });
            (ResolverConfig::from_parts(None, vec![], servers.collect()), ResolverOpts::default())
        };
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        options.cache_size = 0;
        options.timeout = QUERY;
        options.attempts = 2;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(ResolverError::Setup)?;
        let cache = Cache::builder().max_capacity(CACHED_NAMES).expire_after(ByTtl).build();
        Ok(Self { resolver, runtime, cache })
    }

    /// The addresses of `name`, IPv6 and IPv4 as they came.
    ///
    /// # Errors
    /// [`Code::NameNotResolved`], with what the resolver said.
    pub async fn resolve(&self, name: &DomainName) -> Result<Arc<[IpAddr]>, Failure> {
        if let Some(answer) = self.cache.get(name).await {
            return answer.addresses;
        }
        self.cache.get_with_by_ref(name, self.look_up(name)).await.addresses
    }

    async fn look_up(&self, name: &DomainName) -> Answer {
        let failed = |said: &dyn std::fmt::Display| Answer {
            addresses: Err(Failure::new(Code::NameNotResolved, format_args!("{name} does not resolve: {said}"))),
            keep: NEGATIVE,
        };
        let absolute = match Name::from_ascii(format!("{name}.")) {
            Ok(absolute) => absolute,
            Err(error) => return failed(&error),
        };
        let resolver = self.resolver.clone();
        let looked_up = self.runtime.spawn(async move { resolver.lookup_ip(absolute).await });
        let Ok(looked_up) = looked_up.await else { return failed(&"the resolver has ended") };
        match looked_up {
            Ok(found) => {
                let ttl = found.valid_until().saturating_duration_since(Instant::now());
                Answer { addresses: Ok(found.iter().collect()), keep: ttl.clamp(FLOOR, CEILING) }
            }
            Err(error) if error.is_no_records_found() => failed(&"no such name, or no address of it"),
            // A server that is down now may be up in a second.
            Err(error) => Answer { keep: FLOOR, ..failed(&error) },
        }
    }
}

/// The addresses of the system's servers.
pub fn system_servers() -> Vec<SocketAddr> {
    let (config, _) = system();
    let server = |server: &NameServerConfig| {
        let port = server.connections.first().map_or(DNS_PORT, |connection| connection.port);
        SocketAddr::new(server.ip, port)
    };
    config.name_servers().iter().map(server).collect()
}

/// The system's servers. A machine without any still has its hosts file, and where a local server is expected.
fn system() -> (ResolverConfig, ResolverOpts) {
    match hickory_resolver::system_conf::read_system_conf() {
        Ok((config, options)) if !config.name_servers().is_empty() => (config, options),
        found => {
            if let Err(error) = found {
                tracing::warn!(%error, "cannot read /etc/resolv.conf; asking 127.0.0.1 (set [resolver] servers)");
            }
            let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
            (ResolverConfig::from_parts(None, vec![], vec![local]), ResolverOpts::default())
        }
    }
}

#[cfg(test)]
mod tests;
