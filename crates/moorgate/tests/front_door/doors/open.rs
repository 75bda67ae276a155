//! Both sides of a tunnel at once, and the flow it leaves.

use std::{
    collections::HashSet,
    fmt::{self, Display},
    net::SocketAddr,
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    time::{sleep, timeout},
};

use super::{Door, Doors, STUCK, Side};
use crate::gateway::Gateway;

/// A listener that tunnels lead to.
pub struct Destination {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Ports that a test has had: the kernel gives a port again once it is free, and flows are told apart by it.
static HAD: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

impl Destination {
    pub async fn bind() -> Self {
        loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            if HAD.lock().unwrap().insert(address.port()) {
                return Self { listener, address };
            }
        }
    }

    /// The next connection's target side.
    pub async fn accept(&self) -> Side {
        Side::target(timeout(STUCK, self.listener.accept()).await.expect("a connection").unwrap().0)
    }

    /// Answers every connection with what it sends, until dropped with the runtime.
    pub fn echo(self) -> SocketAddr {
        let address = self.address;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = self.listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.shutdown().await;
                });
            }
        });
        address
    }
}

/// An open tunnel: the client's side, the target's side, and the target as asked.
pub struct Open {
    pub client: Side,
    pub target: Side,
    pub asked: String,
}

impl Open {
    /// Opens one to a listener of its own, so that its flow can be told from all others.
    pub async fn through(doors: &Doors, door: Door) -> Self {
        let destination = Destination::bind().await;
        let client = doors.open(door, &destination).await;
        let client = client.unwrap_or_else(|refused| panic!("{door:?}: {refused:?}"));
        Self { client, target: destination.accept().await, asked: destination.to_string() }
    }
}

/// The ended flows that a gateway with `MOORGATE_LOG_FORMAT=json` has printed so far.
pub fn printed_flows(gateway: &Gateway) -> Vec<Value> {
    gateway.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
}

/// Waits until a flow that fits is printed.
pub async fn flow(gateway: &Gateway, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + STUCK;
    loop {
        if let Some(flow) = printed_flows(gateway).into_iter().find(&fits) {
            return flow;
        }
        assert!(Instant::now() < end, "no flow {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the flow to that target.
pub async fn flow_to(gateway: &Gateway, asked: &str) -> Value {
    flow(gateway, asked, |flow| flow["target"] == asked).await
}
