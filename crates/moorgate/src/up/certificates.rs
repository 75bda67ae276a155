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

use super::{UpError, bind::Addresses, own_names};
use crate::config::Config;

const CA_KEY: &str = "ca.key.sealed";
const CA_PURPOSE: &str = "local CA key";
/// A certificate lives for 90 days; a fresh one every ten keeps a gateway that is never restarted far from the end.
const FRESH: Duration = Duration::from_secs(10 * 24 * 3600);

/// The certificate of the gateway's own name: the CA's of `[acme]`, once it has issued one.
#[derive(Clone)]
pub(super) struct OwnCertificate {
    domain: Option<Domain>,
    proxy: CertSource,
    shown: Arc<Mutex<Option<Arc<Certificate>>>>,
}

impl OwnCertificate {
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
                self.proxy.replace_with(&source);
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
    names: Vec<SubjectName>,
    echo_name: Vec<SubjectName>,
    own: OwnCertificate,
    echo: CertSource,
}

impl Certificates {
    /// Reads the CA (or makes one) and issues this start's certificates.
    pub(super) fn open(config: &Config, addresses: &Addresses, keys: &MasterKeys) -> Result<Self, UpError> {
        let found = open_ca(&config.data_dir, keys)?;
        let is_fresh = found.is_none();
        let ca = Arc::new(found.map_or_else(|| LocalCa::create("Moorgate local CA"), Ok)?);
        let names = names(config, addresses);
        let echo_name: Vec<SubjectName> = vec![ECHO.parse()?];
        let proxy = CertSource::new(&ca.issue(&names)?)?;
        let domain = own_names(config).into_iter().next().map(Domain::Exact);
        let own = OwnCertificate { domain, proxy, shown: Arc::default() };
        let echo = CertSource::new(&ca.issue(&echo_name)?)?;
        let issuer = LocalIssuer::new(ca.clone());
        Ok(Self { ca, is_fresh, issuer, names, echo_name, own, echo })
    }

    /// One terminator for each listener: tickets stay with theirs.
    pub(super) fn terminators(&self) -> Result<Terminators, UpError> {
        Ok(Terminators {
            https: Terminator::new(self.own.proxy.clone(), &[b"h2", b"http/1.1"])?,
            // Clients of SOCKS over TLS agree on no protocol, or on whatever they like.
            socks_tls: Terminator::new(self.own.proxy.clone(), &[])?,
            echo: Terminator::new(self.echo.clone(), &[b"http/1.1"])?,
            local: self.issuer.clone(),
        })
    }

    /// The certificate of the gateway's own name.
    pub(super) fn own(&self) -> OwnCertificate {
        self.own.clone()
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
        if !self.own.is_issued() {
            self.own.proxy.replace(&self.ca.issue(&self.names)?)?;
        }
        self.echo.replace(&self.ca.issue(&self.echo_name)?)?;
        Ok(())
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
