//! The failure table as the documentation shows it.

use std::fmt::Write;

use super::{Code, Row, SocksAnswer};

/// Every code and how it is said to outbound clients, as a Markdown table.
pub fn table_as_markdown() -> String {
    let mut table = String::from("| code | HTTP | SOCKS5 | Proxy-Status error |\n|---|---|---|---|\n");
    for Row { code, http, socks, proxy_status, .. } in Code::ALL.iter().map(|code| code.row()) {
        let socks = match socks {
            SocksAnswer::Reply(reply) => format!("0x{:02x}", reply.code()),
            SocksAnswer::AuthFailure => "0xFF / RFC 1929 failure".into(),
            SocksAnswer::Close => "close".into(),
        };
        // Writing into a String can't fail.
        let _ = writeln!(table, "| `{code}` | {http} | {socks} | `{proxy_status}` |");
    }
    table
}
