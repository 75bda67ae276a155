//! The local CA: certificates for our own listeners and for names that have no other yet (RFC 5280).
//!
//! What it issues passes OpenSSL's X509_STRICT, which Python switches on since 3.13.

use std::{
    fmt,
    net::IpAddr,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber, date_time_ymd, string::Ia5String,
};
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{KeyError, random};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Validity begins this much in the past: clocks of clients differ.
const BACKDATED: Duration = HOUR;
const CA_LIFE: Duration = Duration::from_secs(3_652 * DAY.as_secs());
const LEAF_LIFE: Duration = Duration::from_secs(90 * DAY.as_secs());
/// ub-common-name of X.520 (RFC 5280, appendix A.1), in characters.
const COMMON_NAME_MAX: usize = 64;

/// A name that a certificate is for: an IP address, or a DNS name with perhaps `*.` in front. Made by parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectName(SanType);

impl From<IpAddr> for SubjectName {
    fn from(address: IpAddr) -> Self {
        Self(SanType::IpAddress(address))
    }
}

impl FromStr for SubjectName {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let bad = || KeyError::BadName { name: name.to_owned() };
        let lower = name.to_ascii_lowercase();
        DnsName::try_from(lower.strip_prefix("*.").unwrap_or(&lower)).map_err(|_| bad())?;
        Ok(Self(SanType::DnsName(Ia5String::try_from(lower).map_err(|_| bad())?)))
    }
}

impl SubjectName {
    /// Whether it is a DNS name.
    pub(crate) fn is_dns(&self) -> bool {
        matches!(self.0, SanType::DnsName(_))
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SanType::IpAddress(address) => address.fmt(f),
            SanType::DnsName(name) => name.as_str().fmt(f),
            // Only the two above are ever made.
            _ => Ok(()),
        }
    }
}

/// A certificate with the chain that leads to its CA, and its private key. The key is zeroized on drop.
pub struct CertifiedChain {
    /// The certificate itself first, then its issuers, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's private key.
    pub key: PrivateKeyDer<'static>,
    /// When the certificate ends.
    pub not_after: SystemTime,
}

impl CertifiedChain {
    /// Puts a stored chain and its key together. Whether they match is checked by whoever signs with them.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, KeyError> {
        let first = chain.first().ok_or(KeyError::Missing("certificate"))?;
        let not_after = not_after(&parse(first)?);
        Ok(Self { chain, key, not_after })
    }
}

impl fmt::Debug for CertifiedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, not_after, .. } = self;
        f.debug_struct("CertifiedChain")
            .field("certificates", &chain.len())
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

impl Drop for CertifiedChain {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// A certificate authority of our own, for clients that are told to trust it (`MOORGATE_CA`).
pub struct LocalCa {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    not_after: SystemTime,
}

impl fmt::Debug for LocalCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCa").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Drop for LocalCa {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl LocalCa {
    /// Makes a new CA called `name`: ECDSA P-256, valid for ten years, for end-entity certificates only.
    pub fn create(name: &str) -> Result<Self, KeyError> {
        let key = KeyPair::generate().map_err(KeyError::Issue)?;
        let (mut params, not_after) = params(name, SystemTime::now(), CA_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(KeyError::Issue)?.into();
        Ok(Self { certificate, key, not_after })
    }

    /// Takes up a CA that was made before: its certificate in PEM, and its key in PEM or DER.
    pub fn from_pem(certificate: &str, key: &[u8]) -> Result<Self, KeyError> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(KeyError::CertificatePem)?;
        let key = match PrivateKeyDer::from_pem_slice(key) {
            Ok(mut der) => {
                let pair = KeyPair::try_from(&der);
                der.zeroize();
                pair
            }
            Err(_) => KeyPair::try_from(key),
        }
        .map_err(|_| KeyError::PrivateKey)?;
        let parsed = parse(&certificate)?;
        if !parsed.is_ca() {
            return Err(KeyError::NotACa);
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(KeyError::KeyMismatch);
        }
        let not_after = not_after(&parsed);
        Ok(Self { certificate, key, not_after })
    }

    /// The certificate that clients must trust, in PEM (RFC 7468).
    pub fn cert_pem(&self) -> String {
        pem(&self.certificate)
    }

    /// The private key as PKCS#8 DER: to be sealed, never to be written as it is.
    pub fn key_der(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.serialize_der())
    }

    /// When the CA's own certificate ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Issues a certificate with a new key for `names` (at least one), from an hour ago on for 90 days.
    pub fn issue(&self, names: &[SubjectName]) -> Result<CertifiedChain, KeyError> {
        self.issue_at(names, SystemTime::now())
    }

    /// [`issue`](Self::issue) as if it were `now`.
    pub fn issue_at(&self, names: &[SubjectName], now: SystemTime) -> Result<CertifiedChain, KeyError> {
        let first = names.first().ok_or(KeyError::Missing("name"))?;
        let (mut params, not_after) = params(&first.to_string(), now, LEAF_LIFE)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = names.iter().map(|name| name.0.clone()).collect();
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key).map_err(KeyError::Issue)?;
        let mut key = KeyPair::generate().map_err(KeyError::Issue)?;
        let signed = params.signed_by(&key, &issuer);
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        key.zeroize();
        let chain = vec![signed.map_err(KeyError::Issue)?.into()];
        Ok(CertifiedChain { chain, key: der, not_after })
    }
}

/// What every certificate of ours has: subject, serial number and validity. Also says when it ends.
fn params(name: &str, now: SystemTime, life: Duration) -> Result<(CertificateParams, SystemTime), KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let common: String = name.chars().take(COMMON_NAME_MAX).collect();
    params.distinguished_name.push(DnType::CommonName, common);
    // Positive and never shorter, whatever was drawn (RFC 5280 §4.1.2.2).
    let mut serial = random::<16>()?;
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let now = Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + (now + life);
    Ok((params, UNIX_EPOCH + now + life))
}

/// One certificate in PEM (RFC 7468).
pub(crate) fn pem(certificate: &CertificateDer<'_>) -> String {
    let base64 = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    base64.as_bytes().chunks(64).for_each(|line| {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    });
    pem + "-----END CERTIFICATE-----\n"
}

pub(crate) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, KeyError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| KeyError::NotX509(error.into()))?;
    Ok(parsed)
}

fn not_after(certificate: &X509Certificate<'_>) -> SystemTime {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests;
