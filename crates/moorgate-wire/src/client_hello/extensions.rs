//! The extensions that say where a hello wants to go: `server_name` (RFC 6066 §3), ALPN (RFC 7301
//! §3.1), `supported_versions` (RFC 8446 §4.2.1), and that there is an ECH (RFC 9849 §5).

use std::iter;

use super::error::{Field, HelloError};
use crate::{host::Host, name::DomainName};

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

const HOST_NAME: u8 = 0;
const TLS13: [u8; 2] = [3, 4];

/// What a hello has said so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) legacy_version: u16,
    pub(super) server_name: Option<DomainName>,
    pub(super) alpn: Box<[u8]>,
    pub(super) tls13: bool,
    pub(super) ech: bool,
}

/// Whether [`Found::read`] wants the content of an extension.
pub(super) fn is_wanted(kind: u16) -> bool {
    matches!(kind, SERVER_NAME | ALPN | SUPPORTED_VERSIONS)
}

impl Found {
    /// Reads one extension; `content` is empty for one that is not wanted.
    pub(super) fn read(&mut self, kind: u16, content: &[u8]) -> Result<(), HelloError> {
        match kind {
            SERVER_NAME => self.server_name = Some(server_name(content)?),
            ALPN => self.alpn = alpn(content)?,
            SUPPORTED_VERSIONS => self.tls13 = offers_tls13(content)?,
            ENCRYPTED_CLIENT_HELLO => self.ech = true,
            _ => {}
        }
        Ok(())
    }
}

/// Exactly one host name, canonical: what would be matched here and read otherwise by the origin is
/// no name.
fn server_name(content: &[u8]) -> Result<DomainName, HelloError> {
    let list = counted16(content, Field::ServerName)?;
    let (&kind, name) = list.split_first().ok_or(HelloError::Empty(Field::ServerName))?;
    if kind != HOST_NAME {
        return Err(HelloError::NameType(kind));
    }
    let (len, rest) = name.split_first_chunk().ok_or(HelloError::Length(Field::ServerName))?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (name, more) = rest.split_at_checked(len).ok_or(HelloError::Length(Field::ServerName))?;
    if !more.is_empty() {
        return Err(HelloError::TwoServerNames);
    }
    if name.is_empty() {
        return Err(HelloError::Empty(Field::ServerName));
    }
    // A replacement character is not ASCII, so such a name is refused.
    match Host::parse(&String::from_utf8_lossy(name)) {
        Ok(Host::Name(name)) => Ok(name),
        Ok(Host::V4(ip)) => Err(HelloError::Address(ip.into())),
        Ok(Host::V6(ip)) => Err(HelloError::Address(ip.into())),
        Err(why) => Err(HelloError::ServerName(why)),
    }
}

/// The list without its length, checked.
fn alpn(content: &[u8]) -> Result<Box<[u8]>, HelloError> {
    let list = counted16(content, Field::Alpn)?;
    if list.is_empty() {
        return Err(HelloError::Empty(Field::Alpn));
    }
    let mut rest = list;
    while let Some((&len, behind)) = rest.split_first() {
        if len == 0 {
            return Err(HelloError::Length(Field::Alpn));
        }
        (_, rest) = behind.split_at_checked(len.into()).ok_or(HelloError::Length(Field::Alpn))?;
    }
    Ok(list.into())
}

/// The members of a list that [`alpn`] has checked.
pub(super) fn protocols(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let (&len, behind) = list.split_first()?;
        let (protocol, rest) = behind.split_at_checked(len.into())?;
        list = rest;
        Some(protocol)
    })
}

fn offers_tls13(content: &[u8]) -> Result<bool, HelloError> {
    let (&len, list) = content.split_first().ok_or(HelloError::Length(Field::Versions))?;
    let (versions, odd) = list.as_chunks();
    if list.len() != usize::from(len) || !odd.is_empty() {
        return Err(HelloError::Length(Field::Versions));
    }
    if versions.is_empty() {
        return Err(HelloError::Empty(Field::Versions));
    }
    Ok(versions.contains(&TLS13))
}

/// All that follows two bytes of length, which must count just that.
fn counted16(content: &[u8], field: Field) -> Result<&[u8], HelloError> {
    match content.split_first_chunk() {
        Some((len, list)) if list.len() == usize::from(u16::from_be_bytes(*len)) => Ok(list),
        _ => Err(HelloError::Length(field)),
    }
}
