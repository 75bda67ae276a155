//! Bytes to values and back: ClientHello, PROXY protocol, SOCKS5, HTTP/1, names, Proxy-Status. No sockets, no clocks, no decryption.
//!
//! Everything here is sans-I/O: it is given bytes and answers with a value (need more, send this,
//! done, malformed). What is forwarded is written anew from the value, never copied from the wire.
//!
//! ```
//! use moorgate_wire::host::Host;
//!
//! let refusal = Host::parse("0x7f.1").unwrap_err();
//! assert_eq!(refusal.to_string(), "\"0x7f.1\" is not a canonical address; write 127.0.0.1");
//! ```

pub mod basic;
pub mod client_hello;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod host;
pub mod http1;
pub mod name;
pub mod path;
pub mod proxy_protocol;
pub mod proxy_status;
pub mod socks5;
pub mod text;
pub mod tls_record;
pub mod visible;
