//! Certificates and keys that somebody else made: read, matched, put in order (RFC 5280, RFC 7468).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    public_key::PublicKey,
    time::ASN1Time,
    x509::{SubjectPublicKeyInfo, X509Name},
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    Hex, KeyError, SubjectName,
    ca::{parse, pem},
};

/// The most characters that are shown of an issuer's name.
const ISSUER_CHARS: usize = 80;

/// How far a CA's clock may be ahead of ours.
const SKEW: Duration = Duration::from_mins(5);

/// Every certificate of a PEM text, each of which can be read; at least one.
///
/// # Errors
/// [`KeyError::CertificatePem`], [`KeyError::NotX509`], [`KeyError::NoCertificate`].
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(KeyError::CertificatePem)?;
    certificates.iter().try_for_each(|certificate| parse(certificate).map(drop))?;
    if certificates.is_empty() { Err(KeyError::NoCertificate) } else { Ok(certificates) }
}

/// A certificate with the chain that leads to its CA, and its private key: they belong together. The key is zeroized on
/// drop.
pub struct Uploaded {
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<Vec<u8>>,
    facts: Facts,
}

impl fmt::Debug for Uploaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploaded").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Uploaded {
    /// Reads what people have: certificates in PEM in any order, with some that don't belong there, and one key in PEM
    /// (PKCS #8, SEC 1 or PKCS #1). The chain comes out in order: the key's certificate, then each one's issuer, without
    /// the root.
    ///
    /// # Errors
    /// What is missing, can't be read or does not fit; [`KeyError::Expired`]; [`KeyError::NotYet`]; [`KeyError::NoDnsNames`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, KeyError> {
        Self::from_pem_at(chain, key, SystemTime::now())
    }

    /// [`from_pem`](Self::from_pem) as if it were `now`.
    pub fn from_pem_at(chain: &[u8], key: &[u8], now: SystemTime) -> Result<Self, KeyError> {
        let given = certificates(chain)?;
        let key = read_key(key)?;
        let read: Vec<_> = given.iter().map(parse).collect::<Result<_, _>>()?;
        let now_at = asn1(now);
        let order = in_order(&read, &public_key(&key)?, now_at).ok_or(KeyError::KeyOfNone { count: read.len() })?;
        let chain: Vec<_> = order.into_iter().filter_map(|at| given.get(at)).cloned().collect();
        let first = chain.first().ok_or(KeyError::NoCertificate)?;
        let (facts, leaf) = (Facts::of(first)?, parse(first)?);
        if leaf.validity().not_after < now_at {
            return Err(KeyError::Expired { at: leaf.validity().not_after.to_datetime().date().to_string() });
        }
        if facts.not_before > now + SKEW {
            return Err(KeyError::NotYet { at: leaf.validity().not_before.to_datetime().date().to_string() });
        }
        if facts.names.is_empty() {
            return Err(KeyError::NoDnsNames);
        }
        Ok(Self { chain, key, facts })
    }

    /// Takes up what was read before: the chain as [`chain_pem`](Self::chain_pem) wrote it, and the key's DER. One that
    /// has ended since is taken too.
    ///
    /// # Errors
    /// [`KeyError::KeyMismatch`], and what can't be read.
    pub fn stored(chain: &[u8], key: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let chain = certificates(chain)?;
        let first = chain.first().ok_or(KeyError::NoCertificate)?;
        if parse(first)?.public_key().raw != public_key(&key)? {
            return Err(KeyError::KeyMismatch);
        }
        let facts = Facts::of(first)?;
        Ok(Self { chain, key, facts })
    }

    /// The certificate first, then each one's issuer.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain in PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem(certificate)).collect()
    }

    /// The private key's DER: to be sealed, never to be written as it is.
    pub fn key_der(&self) -> &Zeroizing<Vec<u8>> {
        &self.key
    }

    /// What the certificate says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// What a certificate says of itself, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The DNS names that it is for, in lower case, perhaps with `*.` in front.
    pub names: Vec<String>,
    /// Who signed it: the common name, or the organisation.
    pub issuer: String,
    /// From when on it holds.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint: String,
    /// The kind of its key, such as `ECDSA P-256`.
    pub key: String,
}

impl Facts {
    /// Those of the first certificate of a PEM text.
    ///
    /// # Errors
    /// As of [`certificates`].
    pub fn of_pem(chain: &[u8]) -> Result<Self, KeyError> {
        Self::of(certificates(chain)?.first().ok_or(KeyError::NoCertificate)?)
    }

    /// Those of a certificate.
    ///
    /// # Errors
    /// [`KeyError::NotX509`].
    pub fn of_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::of(&CertificateDer::from(der))
    }

    fn of(der: &CertificateDer<'_>) -> Result<Self, KeyError> {
        let read = parse(der)?;
        let validity = read.validity();
        Ok(Self {
            names: dns_names(&read),
            issuer: readable(read.issuer()),
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
            fingerprint: Hex(digest(&SHA256, der).as_ref()).to_string(),
            key: algorithm(read.public_key()),
        })
    }

    /// Whether it is good for a domain, which may begin with `*.`: only a wildcard of the same name is good for that.
    pub fn covers(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        let wildcard = domain.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        self.names.iter().any(|name| *name == domain || Some(name) == wildcard.as_ref())
    }
}

/// The one key of a PEM text, as DER.
fn read_key(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // By its label (RFC 5958 §3), or the header of RFC 1421 that OpenSSL wrote before.
    let text = Zeroizing::new(String::from_utf8_lossy(pem).into_owned());
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::EncryptedKey);
    }
    let mut found: Option<Zeroizing<Vec<u8>>> = None;
    let mut count = 0;
    for key in PrivateKeyDer::pem_slice_iter(pem) {
        let mut key = key.map_err(|_| KeyError::PrivateKey)?;
        found = Some(Zeroizing::new(key.secret_der().to_vec()));
        key.zeroize();
        count += 1;
    }
    match found {
        Some(key) if count == 1 => Ok(key),
        Some(_) => Err(KeyError::SeveralKeys { count }),
        None => Err(KeyError::NoKey),
    }
}

/// The public key that belongs to a private one, as it stands in certificates.
fn public_key(key: &[u8]) -> Result<Vec<u8>, KeyError> {
    let der = PrivateKeyDer::try_from(key).map_err(|_| KeyError::PrivateKey)?;
    let mut pair = KeyPair::try_from(&der).map_err(|_| KeyError::UnusableKey)?;
    let public = pair.subject_public_key_info();
    pair.zeroize();
    Ok(public)
}

/// Which certificates lead from the one of `key` to its CA. `None`: it is none's key.
fn in_order(given: &[X509Certificate<'_>], key: &[u8], now: ASN1Time) -> Option<Vec<usize>> {
    let of_key = given.iter().enumerate().filter(|(_, one)| one.public_key().raw == key);
    // A certificate and the one that it replaces may have the same key.
    let (at, leaf) = of_key.max_by_key(|(_, one)| (!one.is_ca(), one.validity().not_after))?;
    let (mut order, mut last) = (vec![at], leaf);
    while !is_self_signed(last) {
        let issuers = given.iter().enumerate().filter(|(at, one)| !order.contains(at) && issued(one, last));
        // A root may be given beside a version of it that an older root signed: that leads on for older clients.
        let best = issuers
            .max_by_key(|(at, one)| (one.validity().not_after >= now, !is_self_signed(one), std::cmp::Reverse(*at)));
        let Some((at, issuer)) = best else { break };
        order.push(at);
        last = issuer;
    }
    // Who trusts a root has it, and who has not does not take it from us.
    if order.len() > 1 && is_self_signed(last) {
        order.pop();
    }
    Some(order)
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == certificate.subject().as_raw()
}

/// Whether `issuer` may have issued `certificate`: by name, and by key identifier where both tell theirs.
fn issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    let own = issuer.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    let named = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let by_key = own.zip(named).is_none_or(|(own, named)| own == named);
    issuer.is_ca() && issuer.subject().as_raw() == certificate.issuer().as_raw() && by_key
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let dns = names.filter_map(|name| match name {
        // What is no name matches none, and its bytes are anybody's.
        GeneralName::DNSName(name) => name.parse::<SubjectName>().ok().filter(SubjectName::is_dns),
        _ => None,
    });
    dns.map(|name| name.to_string()).collect()
}

fn readable(name: &X509Name<'_>) -> String {
    let mut parts = name.iter_common_name().chain(name.iter_organization());
    let text = parts.find_map(|part| part.as_str().ok()).unwrap_or("unnamed");
    // Anybody may have written it: no control byte acts on a terminal.
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(ISSUER_CHARS).collect()
}

fn algorithm(key: &SubjectPublicKeyInfo<'_>) -> String {
    if let Ok(PublicKey::RSA(rsa)) = key.parsed() {
        return format!("RSA {}", rsa.key_size());
    }
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
    // RFC 5480 §2.1.1.1, RFC 8410 §3.
    match (key.algorithm.algorithm.to_id_string().as_str(), curve.as_str()) {
        ("1.2.840.10045.2.1", "1.2.840.10045.3.1.7") => "ECDSA P-256".to_owned(),
        ("1.2.840.10045.2.1", "1.3.132.0.34") => "ECDSA P-384".to_owned(),
        ("1.2.840.10045.2.1", "1.3.132.0.35") => "ECDSA P-521".to_owned(),
        ("1.3.101.112", _) => "Ed25519".to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn system_time(at: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0))
}

fn asn1(at: SystemTime) -> ASN1Time {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let read = i64::try_from(seconds).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    read.unwrap_or_else(ASN1Time::now)
}

#[cfg(test)]
mod tests;
