//! Numbers and addresses as text, written straight to where they go: each request and each flow has several of them, and
//! `fmt` takes ten times as long.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use itoa::{Buffer, Integer};

/// Writes a number in decimal.
pub fn push_number(out: &mut Vec<u8>, number: impl Integer) {
    out.extend_from_slice(Buffer::new().format(number).as_bytes());
}

/// Writes an address: IPv6 without brackets, in the form of RFC 5952.
pub fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => push_ipv4(out, ip),
        IpAddr::V6(ip) => {
            // Writing to memory cannot fail.
            let _ = write!(out, "{ip}");
        }
    }
}

fn push_ipv4(out: &mut Vec<u8>, ip: Ipv4Addr) {
    let [first, rest @ ..] = ip.octets();
    push_number(out, first);
    for octet in rest {
        out.push(b'.');
        push_number(out, octet);
    }
}

/// `host:port`.
pub fn with_port(host: &str, port: u16) -> String {
    [host, ":", Buffer::new().format(port)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_fmt_writes() {
        for ip in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1", "::ffff:192.0.2.1"] {
            let mut out = Vec::new();
            push_ip(&mut out, ip.parse().unwrap());
            assert_eq!(out, ip.as_bytes());
        }
        assert_eq!(with_port("a.example", 0), "a.example:0");
        assert_eq!(with_port("a.example", u16::MAX), "a.example:65535");
    }
}
