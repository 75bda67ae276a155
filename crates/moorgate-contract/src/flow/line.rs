//! A flow as a line: the JSON that serde makes of it, letter for letter, for a third of the work. Most letters of a line are
//! names of ours, which serde looks through each time for something to escape.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use itoa::Integer;
use moorgate_wire::text::{push_ip, push_number};

use super::{Flow, Kind};
use crate::exposure::{Content, Exposure};

impl Flow {
    /// Puts the flow's JSON behind `line`, without a line end.
    pub fn push_line(&self, line: &mut Vec<u8>) {
        // By name, so that no field is forgotten.
        let Self {
            id,
            started,
            duration_us,
            kind,
            listener,
            client,
            account,
            username,
            target,
            route,
            mode,
            origin,
            alpn,
            address,
            egress,
            tries,
            bytes_up,
            bytes_down,
            latency_us,
            whose: _,
            unreported_up: _,
            unreported_down: _,
            status,
            outcome,
            said,
            exposure,
        } = self;
        let mut line = Line(line);
        line.put("{\"id\":\"");
        line.0.extend_from_slice(&id.letters());
        line.put("\",\"started\":");
        line.number(started.0);
        line.put(",\"duration_us\":");
        line.number(*duration_us);
        line.put(match kind {
            Kind::Tunnel => ",\"kind\":\"tunnel\",\"listener\":\"",
            Kind::Exchange => ",\"kind\":\"exchange\",\"listener\":\"",
        });
        line.put(listener.name());
        line.put("\",\"client\":\"");
        line.socket(*client);
        line.put("\"");
        line.text(",\"account\":", account.as_deref());
        line.text(",\"username\":", username.as_deref());
        line.text(",\"target\":", target.as_deref());
        line.text(",\"route\":", route.as_deref());
        line.text(",\"mode\":", mode.map(|mode| mode.name()));
        line.text(",\"origin\":", origin.as_deref());
        line.text(",\"alpn\":", alpn.as_deref());
        if let Some(address) = address {
            line.put(",\"address\":\"");
            line.socket(*address);
            line.put("\"");
        }
        if let Some(egress) = egress {
            line.put(",\"egress\":\"");
            line.ip(*egress);
            line.put("\"");
        }
        line.put(",\"tries\":");
        line.number(*tries);
        line.put(",\"bytes_up\":");
        line.number(*bytes_up);
        line.put(",\"bytes_down\":");
        line.number(*bytes_down);
        if let Some(latency) = latency_us {
            line.put(",\"latency_us\":");
            line.number(*latency);
        }
        if let Some(status) = status {
            line.put(",\"status\":");
            line.number(*status);
        }
        line.put(",\"outcome\":\"");
        line.put(outcome.code());
        line.put("\"");
        line.text(",\"said\":", said.as_deref());
        line.put(",\"exposure\":[");
        let Exposure { wire_to_gateway, gateway, wire_to_target, content } = exposure;
        for readable in [wire_to_gateway, gateway, wire_to_target] {
            line.number(readable.bits());
            line.put(",");
        }
        line.put(match content {
            Content::None => "\"none\"]}",
            Content::Tls => "\"tls\"]}",
            Content::NotTls => "\"not_tls\"]}",
            Content::Http => "\"http\"]}",
        });
    }
}

struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: impl Integer) {
        push_number(self.0, number);
    }

    /// What needs no escaping.
    fn shown(&mut self, what: impl std::fmt::Display) {
        // Writing into memory does not fail.
        let _ = write!(self.0, "{what}");
    }

    /// A text that may be a peer's, behind its name.
    fn text(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.put(name);
        self.put("\"");
        // It looks at each byte, and so at many at once.
        let odd = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
        if !text.bytes().fold(false, |any, byte| any | odd(byte)) {
            self.put(text);
        } else {
            text.chars().for_each(|letter| self.letter(letter));
        }
        self.put("\"");
    }

    /// A letter as it stands in a string (RFC 8259 §7).
    fn letter(&mut self, letter: char) {
        match letter {
            '"' => self.put("\\\""),
            '\\' => self.put("\\\\"),
            '\n' => self.put("\\n"),
            '\r' => self.put("\\r"),
            '\t' => self.put("\\t"),
            '\u{8}' => self.put("\\b"),
            '\u{c}' => self.put("\\f"),
            '\0'..' ' => self.shown(format_args!("\\u{:04x}", u32::from(letter))),
            _ => self.put(letter.encode_utf8(&mut [0; 4])),
        }
    }

    fn socket(&mut self, address: SocketAddr) {
        match address {
            SocketAddr::V4(v4) => {
                self.ip((*v4.ip()).into());
                self.put(":");
                self.number(v4.port());
            }
            SocketAddr::V6(_) => self.shown(address),
        }
    }

    fn ip(&mut self, address: IpAddr) {
        push_ip(self.0, address);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        exposure::{Content, Exposure, Readable},
        flow::{Flow, FlowId, Kind},
        listener::Listener,
        outcome::Outcome,
        route::Mode,
        time::Timestamp,
    };

    #[test]
    fn a_line_is_what_serde_writes() {
        let bare = Flow::new(FlowId(7), Timestamp(1), Listener::InboundHttp, "10.1.255.0:65535".parse().unwrap());
        let mut all = vec![bare.clone()];
        for listener in Listener::ALL {
            all.push(Flow { listener, client: "[2001:db8::1]:443".parse().unwrap(), ..bare.clone() });
        }
        for outcome in Outcome::all() {
            all.push(Flow {
                outcome,
                said: Some("no \"such\" \\ name\n\r\t\u{8}\u{c}\0\u{1}\u{1f} \u{7f}ä".into()),
                ..bare.clone()
            });
        }
        for (content, bits) in [(Content::None, 0), (Content::Tls, 1), (Content::NotTls, 33), (Content::Http, 63)] {
            let [wire_to_gateway, gateway, wire_to_target] = [bits, 63 - bits, bits ^ 21].map(Readable::from_bits);
            all.push(Flow { exposure: Exposure { wire_to_gateway, gateway, wire_to_target, content }, ..bare.clone() });
        }
        for mode in [Mode::Terminate, Mode::Passthrough] {
            all.push(Flow {
                id: FlowId(u64::MAX),
                started: Timestamp(u64::MAX),
                duration_us: u64::MAX,
                kind: Kind::Exchange,
                account: Some("acme".into()),
                username: Some("acme/app".into()),
                target: Some("a.example:443".into()),
                route: Some("*.a.example".into()),
                mode: Some(mode),
                origin: Some("https://b.example".into()),
                alpn: Some("h2".into()),
                address: Some("127.0.0.1:80".parse().unwrap()),
                egress: Some("192.0.2.1".parse().unwrap()),
                tries: u32::MAX,
                bytes_up: 1,
                bytes_down: u64::MAX,
                latency_us: Some(0),
                status: Some(204),
                ..bare.clone()
            });
        }
        all.push(Flow { egress: Some("2001:db8::2".parse().unwrap()), ..bare });
        for flow in all {
            let mut line = Vec::new();
            flow.push_line(&mut line);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line, serde_json::to_string(&flow).unwrap());
            assert_eq!(serde_json::from_str::<Flow>(&line).unwrap(), flow);
        }
    }
}
