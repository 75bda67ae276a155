//! PROXY headers: cut anywhere, and written anew.

use crate::proxy_protocol::{Fields, MAX_V2_BYTES, ProxyStep, encode_v1, encode_v2, parse};

/// Cuts do not matter, and addresses that are read are read again from what we write.
pub fn proxy_protocol(data: &[u8]) {
    let whole = parse(data);
    let verdict_at = match &whole {
        ProxyStep::Header { consumed, .. } => *consumed,
        _ => data.len(),
    };
    for cut in 0..verdict_at {
        let early = parse(data.get(..cut).unwrap_or_default());
        let same = early == whole && !matches!(whole, ProxyStep::Header { .. });
        assert!(early == ProxyStep::NeedMore || same, "cut at {cut}: {early:?} instead of {whole:?}");
    }
    match whole {
        ProxyStep::NeedMore => assert!(data.len() < MAX_V2_BYTES, "waits beyond its limit"),
        ProxyStep::Malformed(_) => {}
        ProxyStep::Header { consumed, header } => {
            assert!(consumed <= data.len() && consumed <= MAX_V2_BYTES);
            let Some((client, listener)) = header.addresses else { return };
            for written in [encode_v1(client, listener), encode_v2(client, listener, Fields::default())] {
                let again = ProxyStep::Header { consumed: written.len(), header: header.clone() };
                assert_eq!(parse(&written), again, "what we wrote does not read the same");
            }
        }
    }
}
