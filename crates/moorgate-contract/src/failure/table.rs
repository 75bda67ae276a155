//! The failure table as the documentation shows it.

use std::fmt::Write;

use super::{Code, InboundAnswer, Row, SocksAnswer};

/// Every code and how it is said to clients, as a Markdown table.
pub fn table_as_markdown() -> String {
    let mut table =
        String::from("| code | HTTP proxy | SOCKS5 | inbound | Proxy-Status error |\n|---|---|---|---|---|\n");
    for Row { code, http, socks, inbound, proxy_status } in Code::ALL.iter().map(|code| code.row()) {
        let inbound = match inbound {
            None => "–".into(),
            Some(InboundAnswer::Http(status)) => status.to_string(),
            Some(InboundAnswer::Alert(alert, status)) => format!("alert {alert}, {status}"),
        };
        let socks = match socks {
            SocksAnswer::Reply(reply) => format!("0x{:02x}", reply.code()),
            SocksAnswer::AuthFailure => "0xFF / RFC 1929 failure".into(),
            SocksAnswer::Close => "close".into(),
        };
        // Writing into a String can't fail.
        let _ = writeln!(table, "| `{code}` | {http} | {socks} | {inbound} | `{proxy_status}` |");
    }
    table
}
