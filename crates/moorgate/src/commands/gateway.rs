//! Finds the running gateway: by what it wrote into its data directory, or by the environment.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use moorgate_api::client::{Client, ClientError};
use serde_json::Value;

use super::CommandError;
use crate::{config, shell::data_dir_flag};

/// What a gateway writes about itself when it is ready (`gateway.json`).
#[derive(Clone, Debug)]
struct GatewayFile {
    /// The API's base URL.
    api: String,
    /// All of it: proxy URLs are made of it.
    facts: Value,
}

/// A gateway that can be asked.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) client: Client,
    /// Its `gateway.json`; `None` when it is asked by URL and its data directory is not here.
    pub(super) facts: Option<Value>,
    /// Where that file is.
    pub(super) dir: Option<PathBuf>,
    pub(super) asked_by_file: bool,
    /// The flag that the next command needs to find the same gateway; nothing where it needs none.
    pub(super) data_dir_flag: String,
}

impl Gateway {
    /// By `MOORGATE_API` and `MOORGATE_TOKEN`; what is not set there is looked for in the data directory.
    pub(super) fn find(data_dir: Option<PathBuf>) -> Result<Self, CommandError> {
        Self::find_in(data_dir, &|name| std::env::var(name).ok())
    }

    fn find_in(data_dir: Option<PathBuf>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, CommandError> {
        let set = |name| env(name).filter(|value| !value.trim().is_empty());
        let (api, token) = (set("MOORGATE_API"), set("MOORGATE_TOKEN"));
        let by_itself = config::gateway_dir(env);
        let data_dir_flag =
            data_dir.as_deref().map_or_else(String::new, |dir| data_dir_flag(dir, by_itself.as_deref()));
        let dir = data_dir.or(by_itself);
        let (facts, api, asked_by_file) = match api {
            // Its file helps with the proxy URLs, when it is the same gateway's.
            Some(api) => {
                let file = dir.as_deref().and_then(|dir| read_file(dir).ok());
                let same = file.filter(|file| file.api.trim_end_matches('/') == api.trim_end_matches('/'));
                (same.map(|file| file.facts), api, false)
            }
            None => {
                let file = read_file(dir.as_deref().ok_or(CommandError::NoDataDir)?)?;
                (Some(file.facts), file.api, true)
            }
        };
        let token = match token {
            Some(token) => token,
            None => read_token(dir.as_deref().ok_or(CommandError::NoDataDir)?)?,
        };
        let dir = dir.filter(|_| facts.is_some());
        Ok(Self { client: Client::new(&api, &token)?, facts, dir, asked_by_file, data_dir_flag })
    }

    /// Where people find the console: as the gateway says, or where the API is.
    pub(super) fn console(&self) -> String {
        let said = self.facts.as_ref().and_then(|facts| facts.get("console")?.as_str());
        said.map_or_else(|| self.client.url(), str::to_owned)
    }

    /// Whether the gateway takes `address` for a load balancer, which has to say by the PROXY protocol whom it speaks for.
    pub(super) fn is_load_balancer(&self, address: IpAddr) -> bool {
        let trusted = self.facts.as_ref().and_then(|facts| facts.get("trust_proxy_protocol_from")?.as_array());
        let nets = trusted.into_iter().flatten().filter_map(|net| net.as_str()?.parse::<IpNet>().ok());
        nets.into_iter().any(|net| net.contains(&address))
    }

    /// An address by which this machine reaches the inbound TLS listener; `None` when it is asked from elsewhere.
    pub(super) fn inbound_tls(&self) -> Option<SocketAddr> {
        self.listeners().into_iter().find_map(|(name, address)| (name == "inbound_tls").then_some(address))
    }

    /// The addresses by which this machine reaches each listener; none when it is asked from elsewhere.
    pub(super) fn listeners(&self) -> Vec<(String, SocketAddr)> {
        let named = |facts: &Value| {
            let listeners = facts.get("listeners").and_then(Value::as_object).cloned().unwrap_or_default();
            let dns = facts.get("dns").cloned().map(|bound| ("dns".to_owned(), bound));
            listeners.into_iter().chain(dns).collect::<Vec<_>>()
        };
        let all = self.facts.as_ref().map(named).unwrap_or_default();
        let bound = |(name, bound): (String, Value)| {
            let addresses = bound.as_array().cloned().unwrap_or_default().into_iter();
            let read = addresses.filter_map(|address| address.as_str()?.parse::<SocketAddr>().ok()).collect::<Vec<_>>();
            read.into_iter().map(move |address| (name.clone(), from_here(address)))
        };
        all.into_iter().flat_map(bound).collect()
    }

    /// The local CA's certificate, if it is here.
    pub(super) fn ca(&self) -> Option<String> {
        let path = self.dir.as_ref()?.join("ca.pem");
        path.is_file().then(|| path.display().to_string())
    }

    /// A gateway that is not there although its file is: said in terms of the data directory.
    pub(super) fn put_right(&self, error: CommandError) -> CommandError {
        match (error, &self.dir) {
            (CommandError::Asking(ClientError::Unreachable { .. }), Some(dir)) if self.asked_by_file => {
                CommandError::NoGateway { dir: dir.clone() }
            }
            (error, _) => error,
        }
    }
}

/// What is bound to every address is reached by loopback.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        ip if ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

fn read_file(dir: &Path) -> Result<GatewayFile, CommandError> {
    let path = dir.join(config::GATEWAY_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CommandError::NoGateway { dir: dir.to_owned() });
        }
        Err(source) => return Err(CommandError::Unreadable { path, source }),
    };
    let facts: Value = serde_json::from_slice(&text).map_err(|_| CommandError::NotOurs { path: path.clone() })?;
    let api = facts.get("api").and_then(Value::as_str).ok_or(CommandError::NotOurs { path })?;
    Ok(GatewayFile { api: api.to_owned(), facts })
}

fn read_token(dir: &Path) -> Result<String, CommandError> {
    let path = dir.join("operator.token");
    fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CommandError::NoToken { path },
        _ => CommandError::Unreadable { path, source: error },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(dir: &Path, variables: &[(&str, &str)]) -> Result<Gateway, CommandError> {
        Gateway::find_in(Some(dir.to_owned()), &|name| {
            variables.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_a_gateway_the_way_to_one_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(dir.path(), &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("no gateway runs with data directory {}; start one with: moorgate up", dir.path().display())
        );
    }

    #[test]
    fn a_gateway_is_found_by_its_data_directory_and_the_environment_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file = r#"{"api":"http://127.0.0.1:7070","pid":1,"profile":"loopback","listeners":{"outbound_http":["127.0.0.1:9293"]}}"#;
        fs::write(dir.path().join("gateway.json"), file).unwrap();
        assert!(find(dir.path(), &[]).unwrap_err().to_string().contains("operator.token is missing"));
        let by_token = find(dir.path(), &[("MOORGATE_TOKEN", "mgt_a")]).unwrap();
        assert_eq!(by_token.facts.unwrap()["listeners"]["outbound_http"][0], "127.0.0.1:9293");
        fs::write(dir.path().join("operator.token"), "mgt_b\n").unwrap();
        assert!(find(dir.path(), &[]).is_ok());
        let elsewhere =
            find(dir.path(), &[("MOORGATE_API", "http://127.0.0.1:1"), ("MOORGATE_TOKEN", "mgt_a")]).unwrap();
        assert!(elsewhere.facts.is_none());
    }
}
