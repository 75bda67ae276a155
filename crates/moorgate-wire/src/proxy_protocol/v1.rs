//! Version 1, a line of text (§2.1).

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{MAX_V1_BYTES, Pair, ProxyHeader, ProxyHeaderError, Read, begins, header};

pub(super) const BEGINNING: &[u8] = b"PROXY ";

pub(super) fn read(buf: &[u8]) -> Read {
    if !begins(buf, BEGINNING) {
        return Err(ProxyHeaderError::Missing);
    }
    let Some((line, consumed)) = line(buf)? else { return Ok(None) };
    let rest = line.strip_prefix("PROXY ").ok_or(ProxyHeaderError::Missing)?;
    Ok(Some((consumed, understood(rest)?)))
}

/// The line without its CR LF, and its length with it.
fn line(buf: &[u8]) -> Result<Option<(&str, usize)>, ProxyHeaderError> {
    for (at, &byte) in buf.iter().enumerate() {
        // The last place for a CR.
        if at + 2 >= MAX_V1_BYTES && byte != b'\r' {
            return Err(ProxyHeaderError::TooLong);
        }
        match byte {
            b' '..=b'~' => {}
            b'\r' => {
                return match buf.get(at + 1) {
                    None => Ok(None),
                    Some(b'\n') => {
                        let line = buf.get(..at).and_then(|line| str::from_utf8(line).ok());
                        Ok(line.map(|line| (line, at + 2)))
                    }
                    Some(_) => Err(ProxyHeaderError::Byte(b'\r')),
                };
            }
            other => return Err(ProxyHeaderError::Byte(other)),
        }
    }
    Ok(None)
}

/// What follows `PROXY `.
fn understood(rest: &str) -> Result<ProxyHeader, ProxyHeaderError> {
    let mut parts = rest.split(' ');
    let read_ip: fn(&str) -> Option<IpAddr> = match parts.next() {
        Some("TCP4") => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => return Ok(ProxyHeader { addresses: None }),
        _ => return Err(ProxyHeaderError::Protocol),
    };
    let (Some(client), Some(listener), Some(client_port), Some(listener_port), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ProxyHeaderError::Parts);
    };
    let ip = |text| read_ip(text).ok_or(ProxyHeaderError::Address);
    Ok(header((ip(client)?, port(client_port)?), (ip(listener)?, port(listener_port)?)))
}

/// `u16::from_str` alone takes a plus sign and zeros in front.
fn port(text: &str) -> Result<u16, ProxyHeaderError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(ProxyHeaderError::Port)
}

pub(super) fn write(pair: Pair, client_port: u16, listener_port: u16) -> Vec<u8> {
    let line = |protocol: &str, client: &dyn Display, listener: &dyn Display| {
        format!("PROXY {protocol} {client} {listener} {client_port} {listener_port}\r\n").into_bytes()
    };
    match pair {
        Pair::V4([client, listener]) => line("TCP4", &client, &listener),
        Pair::V6([client, listener]) => line("TCP6", &hex(client), &hex(listener)),
    }
}

/// In hex groups only: the protocol has no dotted form of IPv4 in IPv6, which Display uses.
fn hex(ip: Ipv6Addr) -> String {
    match ip.to_ipv4_mapped() {
        Some(_) => {
            let [.., high, low] = ip.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        None => ip.to_string(),
    }
}
