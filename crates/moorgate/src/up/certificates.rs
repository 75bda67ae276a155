//! The local CA, and the certificates of the TLS listeners that it signs.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moorgate_contract::{certificate::Certificate, decide::ECHO, route::Domain, snapshot::Snapshot};
use moorgate_keys::{LocalCa, MasterKeys, SubjectName, file, open, seal};
use moorgate_proxy::{gateway::Terminators, source_of};
use moorgate_tls::{CertSource, LocalIssuer, Terminator};
use moorgate_wire::{host::Host, name::DomainName};

use super::{UpError, bind::Addresses};
use crate::config::Config;

pub(super) const CA_KEY: &str = "ca.key.sealed";
const CA_PURPOSE: &str = "local CA key";
/// A certificate lives for 90 days; a fresh one every ten keeps a gateway that is never restarted far from the end.
const FRESH: Duration = Duration::from_secs(10 * 24 * 3600);

/// The certificate of one of the gateway's own names: the CA's of `[acme]`, once it has issued one.
#[derive(Clone)]
pub(super) struct OwnCertificate {
    /// `None`: a name that no CA issues for.
    domain: Option<Domain>,
    /// What the local CA's is for.
    names: Arc<[SubjectName]>,
    source: CertSource,
    shown: Arc<Mutex<Option<Arc<Certificate>>>>,
}

impl OwnCertificate {
    /// The local CA's, for now.
    fn new(ca: &LocalCa, domain: Option<DomainName>, names: Vec<SubjectName>) -> Result<Self, UpError> {
        let source = CertSource::new(&ca.issue(&names)?)?;
        Ok(Self { domain: domain.map(Domain::Exact), names: names.into(), source, shown: Arc::default() })
    }

    /// Shows a fresh one of the local CA, unless the CA of `[acme]` has issued one.
    fn issue(&self, ca: &LocalCa) -> Result<(), UpError> {
        if !self.is_issued() {
            self.source.replace(&ca.issue(&self.names)?)?;
        }
        Ok(())
    }

    /// Shows what `snapshot` has for the name, if that is another than before.
    pub(super) fn show(&self, snapshot: &Snapshot) {
        let Some(domain) = &self.domain else { return };
        let Some(certificate) = snapshot.certificate(domain) else { return };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, certificate)) {
            return;
        }
        match source_of(certificate) {
            Ok(source) => {
                self.source.replace_with(&source);
                *shown = Some(certificate.clone());
            }
            Err(error) => {
                tracing::error!(%domain, %error, "the issued certificate can't be shown; the old one goes on")
            }
        }
    }

    /// Whether the CA's is shown.
    pub(super) fn is_issued(&self) -> bool {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The CA, what it signs, and where the results are shown from.
pub(super) struct Certificates {
    ca: Arc<LocalCa>,
    /// Whether it was made by this start, and is nowhere but here.
    is_fresh: bool,
    issuer: LocalIssuer,
    proxy: OwnCertificate,
    console: Option<OwnCertificate>,
    echo: OwnCertificate,
}

impl Certificates {
    /// Reads the CA (or makes one) and issues this start's certificates.
    pub(super) fn open(config: &Config, addresses: &Addresses, keys: &MasterKeys) -> Result<Self, UpError> {
        let found = open_ca(&config.data_dir, keys)?;
        let is_fresh = found.is_none();
        let ca = Arc::new(found.map_or_else(|| LocalCa::create("Moorgate local CA"), Ok)?);
        let proxy = OwnCertificate::new(&ca, proxy_name(config), names(config, addresses))?;
        let console = console_name(config).map(|name| {
            let names = vec![name.as_str().parse()?];
            OwnCertificate::new(&ca, Some(name), names)
        });
        let echo = OwnCertificate::new(&ca, None, vec![ECHO.parse()?])?;
        let issuer = LocalIssuer::new(ca.clone());
        Ok(Self { ca, is_fresh, issuer, proxy, console: console.transpose()?, echo })
    }

    /// One terminator for each listener: tickets stay with theirs.
    pub(super) fn terminators(&self) -> Result<Terminators, UpError> {
        Ok(Terminators {
            https: Terminator::new(self.proxy.source.clone(), &[b"h2", b"http/1.1"])?,
            // Clients of SOCKS over TLS agree on no protocol, or on whatever they like.
            socks_tls: Terminator::new(self.proxy.source.clone(), &[])?,
            echo: Terminator::new(self.echo.source.clone(), &[b"http/1.1"])?,
            local: self.issuer.clone(),
        })
    }

    /// How the console is served where it is not on loopback.
    pub(super) fn console(&self) -> Result<Option<Terminator>, UpError> {
        let terminator = |console: &OwnCertificate| Terminator::new(console.source.clone(), &[b"http/1.1"]);
        Ok(self.console.as_ref().map(terminator).transpose()?)
    }

    /// The certificate of the proxies' name.
    pub(super) fn proxy(&self) -> OwnCertificate {
        self.proxy.clone()
    }

    /// Those of all names that a CA may issue for.
    pub(super) fn own(&self) -> Vec<OwnCertificate> {
        [&self.proxy].into_iter().chain(&self.console).cloned().collect()
    }

    /// The CA of this data directory.
    pub(super) fn ca(&self) -> Arc<LocalCa> {
        self.ca.clone()
    }

    /// Takes up the CA of all gateways on the store, if that is another, and keeps it in the data directory. Once the store
    /// is open: before, nobody knows whether the master key is the right one.
    pub(super) fn settle(&mut self, other: Option<LocalCa>, data_dir: &Path, keys: &MasterKeys) -> Result<(), UpError> {
        if other.is_some() || self.is_fresh {
            write_ca(other.as_ref().unwrap_or(&self.ca), data_dir, keys)?;
        }
        let Some(ca) = other else { return Ok(()) };
        self.ca = Arc::new(ca);
        self.issuer.replace(self.ca.clone());
        self.issue()
    }

    fn issue(&self) -> Result<(), UpError> {
        [&self.proxy, &self.echo].into_iter().chain(&self.console).try_for_each(|own| own.issue(&self.ca))
    }

    /// Issues anew from time to time. Open connections keep what they have.
    pub(super) async fn keep_fresh(self) {
        loop {
            tokio::time::sleep(FRESH).await;
            if let Err(error) = self.issue() {
                tracing::error!(%error, "certificates can't be renewed; the old ones go on");
            }
        }
    }
}

/// The names that clients of the gateway itself use, as far as a CA issues for such.
pub(super) fn own_names(config: &Config) -> Vec<DomainName> {
    let names = BTreeSet::from_iter(proxy_name(config).into_iter().chain(console_name(config).filter(is_public)));
    names.into_iter().collect()
}

fn proxy_name(config: &Config) -> Option<DomainName> {
    match &config.hostname {
        Host::Name(name) => Some(name.clone()).filter(is_public),
        _ => None,
    }
}

/// The console's name, where it needs a certificate.
fn console_name(config: &Config) -> Option<DomainName> {
    config.console_hostname.clone().filter(|_| !config.console.ip().is_loopback())
}

fn is_public(name: &DomainName) -> bool {
    name.as_str() != "localhost"
}

/// The CA of a data directory; `None`: it has none yet.
fn open_ca(data_dir: &Path, keys: &MasterKeys) -> Result<Option<LocalCa>, UpError> {
    let (cert_path, key_path) = (data_dir.join("ca.pem"), data_dir.join(CA_KEY));
    let seal_error = |source| UpError::Sealed { path: key_path.clone(), source };
    let current = &keys.current;
    if !key_path.exists() {
        return Ok(None);
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
    Ok(Some(LocalCa::from_pem(&String::from_utf8_lossy(&certificate), &private)?))
}

fn write_ca(ca: &LocalCa, data_dir: &Path, keys: &MasterKeys) -> Result<(), UpError> {
    let path = data_dir.join(CA_KEY);
    let sealed = seal(&keys.current, CA_PURPOSE, &ca.key_der());
    let sealed = sealed.map_err(|source| UpError::Sealed { path: path.clone(), source })?;
    // A key without its certificate, or with another's, would be refused at the next start.
    file::remove(&path)?;
    file::write_public(&data_dir.join("ca.pem"), ca.cert_pem().as_bytes())?;
    file::write_private(&path, &sealed)?;
    Ok(())
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
