//! Version 2, binary (§2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Fields, MAX_ALPN_BYTES, MAX_V2_BYTES, Pair, ProxyHeader, ProxyHeaderError, Read, begins, header};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, transport, length.
const HEAD_BYTES: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const TYPE_ALPN: u8 = 0x01;
const TYPE_AUTHORITY: u8 = 0x02;

pub(super) fn read(buf: &[u8]) -> Read {
    if !begins(buf, SIGNATURE) {
        return Err(ProxyHeaderError::Missing);
    }
    let Some(rest) = buf.get(SIGNATURE.len()..) else { return Ok(None) };
    let Some((&command, rest)) = rest.split_first() else { return Ok(None) };
    if !matches!(command, LOCAL | PROXY) {
        return Err(ProxyHeaderError::Command(command));
    }
    let Some((&transport, rest)) = rest.split_first() else { return Ok(None) };
    let room = match (command, transport) {
        // The receiver is to ignore what LOCAL and UNSPEC carry.
        (LOCAL, _) | (_, UNSPEC) => 0,
        (_, TCP4) => 2 * 4 + 2 * 2,
        (_, TCP6) => 2 * 16 + 2 * 2,
        _ => return Err(ProxyHeaderError::Transport(transport)),
    };
    let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*len));
    if HEAD_BYTES + len > MAX_V2_BYTES {
        return Err(ProxyHeaderError::TooLong);
    }
    if len < room {
        return Err(ProxyHeaderError::Short);
    }
    let Some(content) = rest.get(..len) else { return Ok(None) };
    let header = match room {
        0 => ProxyHeader { addresses: None },
        _ => understood(transport, content)?,
    };
    Ok(Some((HEAD_BYTES + len, header)))
}

/// Addresses, and fields of which only the lengths are looked at.
fn understood(transport: u8, content: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let (header, fields) = match transport {
        TCP4 => addresses(content, Ipv4Addr::from_octets),
        _ => addresses(content, Ipv6Addr::from_octets),
    }
    .ok_or(ProxyHeaderError::Short)?;
    check_fields(fields)?;
    Ok(header)
}

/// Client, listener, the client's port, the listener's.
fn addresses<const N: usize, T: Into<IpAddr>>(content: &[u8], ip: fn([u8; N]) -> T) -> Option<(ProxyHeader, &[u8])> {
    let (client, rest) = content.split_first_chunk()?;
    let (listener, rest) = rest.split_first_chunk()?;
    let (client_port, rest) = rest.split_first_chunk()?;
    let (listener_port, rest) = rest.split_first_chunk()?;
    let port = |bytes: &[u8; 2]| u16::from_be_bytes(*bytes);
    let client = (ip(*client).into(), port(client_port));
    let listener = (ip(*listener).into(), port(listener_port));
    Some((header(client, listener), rest))
}

/// A type of one byte, a length of two, as many bytes, to the end (§2.2.7).
fn check_fields(mut rest: &[u8]) -> Result<(), ProxyHeaderError> {
    while !rest.is_empty() {
        let [_, high, low, behind @ ..] = rest else { return Err(ProxyHeaderError::Fields) };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        rest = behind.get(len..).ok_or(ProxyHeaderError::Fields)?;
    }
    Ok(())
}

pub(super) fn write(pair: Pair, client_port: u16, listener_port: u16, fields: Fields<'_>) -> Vec<u8> {
    let mut content = Vec::with_capacity(64);
    let transport = match pair {
        Pair::V4(ips) => {
            ips.iter().for_each(|ip| content.extend(ip.octets()));
            TCP4
        }
        Pair::V6(ips) => {
            ips.iter().for_each(|ip| content.extend(ip.octets()));
            TCP6
        }
    };
    content.extend(client_port.to_be_bytes());
    content.extend(listener_port.to_be_bytes());
    if let Some(alpn) = fields.alpn.filter(|alpn| (1..=MAX_ALPN_BYTES).contains(&alpn.len())) {
        put_field(&mut content, TYPE_ALPN, alpn);
    }
    if let Some(name) = fields.authority {
        put_field(&mut content, TYPE_AUTHORITY, name.as_str().as_bytes());
    }
    let mut out = Vec::with_capacity(HEAD_BYTES + content.len());
    out.extend(SIGNATURE);
    out.extend([PROXY, transport]);
    out.extend(length(&content));
    out.extend(content);
    out
}

fn put_field(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.extend(length(value));
    out.extend(value);
}

/// All that is written here is far shorter than two bytes can count: an address, a name, a protocol.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}
