//! A flow as one line: when, its id, who, by which product (inbound: in which mode), where to, how it ended.

use moorgate_api::view::Time;
use moorgate_contract::{flow::Flow, listener::Product, outcome::Outcome, quota::Size};
use moorgate_wire::visible::visible_within;

use super::{local, shown};

/// The longest account name, target and origin that are shown whole, in characters.
const ACCOUNT: usize = 24;
const TARGET: usize = 120;

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// One flow, without a line end. `moorgate why` takes its second word.
pub(crate) fn flow_line(flow: &Flow, colour: bool) -> String {
    let paint = |with: &str, text: &str| if colour { format!("{with}{text}{RESET}") } else { text.to_owned() };
    let time = local(Time(flow.started)).strftime("%H:%M:%S").to_string();
    let head = paint(DIM, &format!("{time}  {}", flow.id));
    let account = flow.account.as_deref().map_or_else(|| "–".into(), |name| visible_within(name, ACCOUNT).to_string());
    let protocol = flow.listener.protocol();
    let came = match (flow.listener.product(), flow.mode) {
        (Some(Product::Static), _) => format!("static {protocol}"),
        (Some(Product::Shield), _) => format!("shield {protocol}"),
        // Until a route is found, all that is known is what was spoken.
        (None, None) => format!("inbound {protocol}"),
        (None, Some(mode)) => mode.name().to_owned(),
    };
    let target = flow
        .target
        .as_deref()
        .filter(|target| !target.is_empty())
        .map_or_else(|| "–".into(), |target| visible_within(target, TARGET).to_string());
    let (end, colour_of_end) = ending(flow);
    let end = if colour_of_end.is_empty() { end } else { paint(colour_of_end, &end) };
    format!("{head}  {account:8}  {came:12}  {target:28}  {end}")
}

fn ending(flow: &Flow) -> (String, &'static str) {
    let Flow { bytes_up, bytes_down, duration_us, .. } = *flow;
    let moved = format!("↑ {}  ↓ {}  {}", bytes(bytes_up), bytes(bytes_down), duration(duration_us));
    // Inbound the origin is what one looks for; outbound the address that the destination saw.
    let from = match (&flow.origin, flow.egress) {
        (Some(origin), _) => format!("  {}", visible_within(&**origin, TARGET)),
        (None, Some(egress)) => format!("  from {egress}"),
        (None, None) => String::new(),
    };
    let status = flow.status.map(|status| status.to_string());
    match flow.outcome {
        Outcome::Ok => (format!("{}  {moved}{from}", status.as_deref().unwrap_or("ok")), ""),
        Outcome::Cut(ending) => (format!("{}  {moved}{from}", ending.code()), YELLOW),
        Outcome::Failed(code) => {
            let status = status.map(|status| format!("{status} ")).unwrap_or_default();
            let said = flow.said.as_deref().map(|said| format!(": {}", shown(said))).unwrap_or_default();
            let origin = flow.origin.as_deref().map(|origin| format!("  {}", visible_within(origin, TARGET)));
            (format!("{status}{code}{said}{}", origin.unwrap_or_default()), RED)
        }
    }
}

/// A count of bytes: exact up to 9,999, then with one decimal.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 10_000 {
        return format!("{count} B");
    }
    let mut scaled = count as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

/// A count of bytes that somebody has set, in the unit in which it was most likely written.
pub(crate) fn size(count: u64) -> String {
    Size(count).to_string()
}

/// A count, with a comma between thousands.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span of time, given in microseconds, to two or three digits.
pub(crate) fn duration(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match micros {
        0..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{:.1} s", micros as f64 / 1e6),
        60_000_000..3_600_000_000 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
pub(crate) fn sample() -> Flow {
    use std::{sync::Arc, time::Instant};

    use moorgate_contract::{
        flow::{FlowId, OpenFlow},
        listener::Listener,
        time::Timestamp,
    };
    let (send, flows) = std::sync::mpsc::sync_channel(1);
    let sink = Arc::new(move |flow| send.send(flow).unwrap());
    let started = Timestamp(1_700_000_000_000_000);
    let client = "127.0.0.1:40000".parse().unwrap();
    OpenFlow::open(FlowId::new(started, 1), started, Instant::now(), Listener::OutboundHttp, client, sink)
        .end(Outcome::Ok);
    let mut flow = flows.recv().unwrap();
    flow.account = Some("default".into());
    flow.target = Some("echo.moorgate.internal:80".into());
    flow.egress = Some("127.0.0.1".parse().unwrap());
    (flow.bytes_up, flow.bytes_down, flow.duration_us, flow.status) = (141, 212, 1_234, Some(200));
    *flow
}

#[cfg(test)]
mod tests {
    use moorgate_contract::{failure::Code, listener::Listener, outcome::Ending, route::Mode};

    use super::*;

    /// Without the time, which depends on where we are.
    fn line(flow: &Flow) -> String {
        flow_line(flow, false).chars().skip("14:02:11  ".len()).collect()
    }

    #[test]
    fn a_flow_is_one_line_that_begins_with_time_and_id() {
        let mut flow = sample();
        let id = flow.id;
        assert_eq!(
            line(&flow),
            format!(
                "{id}  default   static http   echo.moorgate.internal:80     200  ↑ 141 B  ↓ 212 B  1.2 ms  from 127.0.0.1"
            )
        );
        flow.outcome = Outcome::Cut(Ending::Revoked);
        assert!(line(&flow).ends_with("revoked  ↑ 141 B  ↓ 212 B  1.2 ms  from 127.0.0.1"));
        (flow.listener, flow.status, flow.account) = (Listener::OutboundSocksTls, None, None);
        (flow.outcome, flow.said) = (Outcome::Failed(Code::HostNotCanonical), Some("write 127.0.0.1".into()));
        assert!(line(&flow).starts_with(&format!("{id}  –         shield socks  ")));
        assert!(line(&flow).ends_with("host_not_canonical: write 127.0.0.1"));
    }

    #[test]
    fn an_inbound_flow_shows_its_mode_and_its_origin() {
        let mut flow = sample();
        let id = flow.id;
        (flow.listener, flow.mode) = (Listener::InboundTls, Some(Mode::Terminate));
        (flow.target, flow.route) = (Some("app.example.com".into()), Some("*.example.com".into()));
        flow.origin = Some("http://127.0.0.1:3000".into());
        assert_eq!(
            line(&flow),
            format!(
                "{id}  default   terminate     app.example.com               200  ↑ 141 B  ↓ 212 B  1.2 ms  http://127.0.0.1:3000"
            )
        );
        (flow.mode, flow.status) = (Some(Mode::Passthrough), None);
        (flow.outcome, flow.said) = (Outcome::Failed(Code::ConnectionRefused), Some("it refuses".into()));
        assert!(line(&flow).contains("  passthrough   "), "{}", line(&flow));
        assert!(line(&flow).ends_with("connection_refused: it refuses  http://127.0.0.1:3000"), "{}", line(&flow));
        (flow.mode, flow.origin, flow.outcome) = (None, None, Outcome::Failed(Code::DomainUnknown));
        assert!(line(&flow).contains("  inbound tls   "), "{}", line(&flow));
    }

    #[test]
    fn nothing_that_a_peer_sent_acts_on_the_terminal() {
        let mut flow = sample();
        flow.target = Some("a\x1b[2J\n\u{202e}:80".into());
        flow.origin = Some("http://\x1b[2J:80".into());
        (flow.outcome, flow.said) = (Outcome::Failed(Code::Malformed), Some("\x1b]0;x\x07".into()));
        let line = flow_line(&flow, false);
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(flow_line(&flow, true).contains(RED));
    }

    #[test]
    fn counts_and_times_are_short() {
        for (count, text) in
            [(0, "0 B"), (9_999, "9999 B"), (10_240, "10.0 KiB"), (1 << 30, "1.0 GiB"), (1 << 60, "1024.0 PiB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (set, text) in [
            (20_000_000, "20 MB"),
            (20 << 30, "20 GiB"),
            (0, "0 B"),
            (1, "1 B"),
            (1_500_000, "1500 kB"),
            (12_345, "12345 B"),
        ] {
            assert_eq!(super::size(set), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(super::count(number), text);
        }
        for (micros, text) in [
            (1_234, "1.2 ms"),
            (84_000, "84 ms"),
            (2_500_000, "2.5 s"),
            (61_000_000, "1 m 1 s"),
            (7_260_000_000, "2 h 1 m"),
        ] {
            assert_eq!(duration(micros), text);
        }
    }
}
