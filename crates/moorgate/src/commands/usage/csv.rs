//! Usage as CSV (RFC 4180): a header, every row with every column, CR LF.

use moorgate_api::view::UsageRow;

const HEADER: &str = "hour,account,credential,route,host,egress,requests,connections,bytes_up,bytes_down,refusals,errors,\
                      latency_p50_us,latency_p90_us,latency_p99_us";

/// All of it.
pub(super) fn text(rows: &[UsageRow]) -> String {
    let mut text = format!("{HEADER}\r\n");
    for row in rows {
        let names = [
            row.hour.map(|hour| hour.to_string()),
            row.account.clone(),
            row.credential.clone(),
            row.route.clone(),
            row.host.clone(),
            row.egress.map(|egress| egress.to_string()),
        ];
        let counts = [row.requests, row.connections, row.bytes_up, row.bytes_down, row.refusals, row.errors].map(Some);
        let latencies = [row.latency_p50_us, row.latency_p90_us, row.latency_p99_us];
        let numbers = counts.into_iter().chain(latencies).map(|number| number.map(|number| number.to_string()));
        let cells: Vec<String> =
            names.into_iter().chain(numbers).map(|cell| cell.map_or_else(String::new, |cell| safe(&cell))).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A cell that no spreadsheet takes for a formula: hosts are named by whoever asks for them.
fn safe(cell: &str) -> String {
    let harmless =
        if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() };
    if harmless.contains([',', '"', '\r', '\n']) { format!("\"{}\"", harmless.replace('"', "\"\"")) } else { harmless }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_every_column_and_no_cell_is_a_formula() {
        let evil = UsageRow {
            hour: Some("2026-11-28T12:00:00Z".parse().unwrap()),
            account: Some("acme".into()),
            host: Some("=HYPERLINK(\"http://evil\",1)".into()),
            bytes_up: 5,
            ..UsageRow::default()
        };
        let text = text(&[evil, UsageRow::default()]);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], "2026-11-28T12:00:00Z,acme,,,\"'=HYPERLINK(\"\"http://evil\"\",1)\",,0,0,5,0,0,0,,,");
        assert_eq!(lines[2], ",,,,,,0,0,0,0,0,0,,,");
        for cell in ["+1", "-1", "@x", "=1", "\tx"] {
            assert!(safe(cell).starts_with('\''), "{cell}");
        }
        assert_eq!((safe("a.example"), safe("2001:db8::1")), ("a.example".into(), "2001:db8::1".into()));
    }
}
