//! The local CA, and the certificates of the TLS listeners that it signs.

use std::{collections::BTreeSet, net::IpAddr, path::Path, sync::Arc, time::Duration};

use moorgate_contract::decide::ECHO;
use moorgate_keys::{LocalCa, MasterKeys, SubjectName, file, open, seal};
use moorgate_proxy::gateway::Terminators;
use moorgate_tls::{CertSource, LocalIssuer, Terminator};

use super::{UpError, bind::Addresses};
use crate::config::Config;

const CA_KEY: &str = "ca.key.sealed";
const CA_PURPOSE: &str = "local CA key";
/// A certificate lives for 90 days; a fresh one every ten keeps a gateway that is never restarted far from the end.
const FRESH: Duration = Duration::from_secs(10 * 24 * 3600);

/// The CA, what it signs, and where the results are shown from.
pub(super) struct Certificates {
    ca: Arc<LocalCa>,
    names: Vec<SubjectName>,
    echo_name: Vec<SubjectName>,
    proxy: CertSource,
    echo: CertSource,
}

impl Certificates {
    /// Reads the CA (or makes it) and issues this start's certificates.
    pub(super) fn open(config: &Config, addresses: &Addresses, keys: &MasterKeys) -> Result<Self, UpError> {
        let ca = Arc::new(open_ca(&config.data_dir, keys)?);
        let names = names(config, addresses);
        let echo_name: Vec<SubjectName> = vec![ECHO.parse()?];
        let proxy = CertSource::new(&ca.issue(&names)?)?;
        let echo = CertSource::new(&ca.issue(&echo_name)?)?;
        Ok(Self { ca, names, echo_name, proxy, echo })
    }

    /// One terminator for each listener: tickets stay with theirs.
    pub(super) fn terminators(&self) -> Result<Terminators, UpError> {
        Ok(Terminators {
            https: Terminator::new(self.proxy.clone(), &[b"h2", b"http/1.1"])?,
            // Clients of SOCKS over TLS agree on no protocol, or on whatever they like.
            socks_tls: Terminator::new(self.proxy.clone(), &[])?,
            echo: Terminator::new(self.echo.clone(), &[b"http/1.1"])?,
            local: LocalIssuer::new(self.ca.clone()),
        })
    }

    /// Issues anew from time to time. Open connections keep what they have.
    pub(super) async fn keep_fresh(self) {
        loop {
            tokio::time::sleep(FRESH).await;
            let result = self.ca.issue(&self.names).map_err(UpError::from).and_then(|chain| {
                self.proxy.replace(&chain)?;
                self.echo.replace(&self.ca.issue(&self.echo_name)?)?;
                Ok(())
            });
            if let Err(error) = result {
                tracing::error!(%error, "certificates can't be renewed; the old ones go on");
            }
        }
    }
}

fn open_ca(data_dir: &Path, keys: &MasterKeys) -> Result<LocalCa, UpError> {
    let (cert_path, key_path) = (data_dir.join("ca.pem"), data_dir.join(CA_KEY));
    let seal_error = |source| UpError::Sealed { path: key_path.clone(), source };
    let current = &keys.current;
    if !key_path.exists() {
        let ca = LocalCa::create("Moorgate local CA")?;
        let sealed = seal(current, CA_PURPOSE, &ca.key_der()).map_err(seal_error)?;
        // The certificate first: a key without it would be refused at the next start.
        file::write_public(&cert_path, ca.cert_pem().as_bytes())?;
        file::write_private(&key_path, &sealed)?;
        return Ok(ca);
    }
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| UpError::File { action: "read", path: path.to_owned(), source })
    };
    let sealed = read(&key_path)?;
    let private = keys.open(CA_PURPOSE, &sealed).map_err(seal_error)?;
    if open(current, CA_PURPOSE, &sealed).is_err() {
        // From here on the master key in use opens it.
        file::write_private(&key_path, &seal(current, CA_PURPOSE, &private).map_err(seal_error)?)?;
    }
    let certificate = read(&cert_path)?;
    Ok(LocalCa::from_pem(&String::from_utf8_lossy(&certificate), &private)?)
}

/// The hostname, `localhost`, and every address that a listener is bound to.
fn names(config: &Config, addresses: &Addresses) -> Vec<SubjectName> {
    let mut names = BTreeSet::from([config.hostname.to_string(), "localhost".to_owned()]);
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    let bound = addresses.all().map(|address| address.ip()).filter(|ip: &IpAddr| !ip.is_unspecified());
    names.extend(bound.map(|ip| ip.to_string()));
    // A hostname that is no name for a certificate was refused with the settings.
    let first = config.hostname.to_string();
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by_key(|name| *name != first);
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
