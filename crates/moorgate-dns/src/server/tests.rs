use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RecordType,
};

use super::*;
use crate::zone::tests::{Two, zone};

struct Fixed;

impl Source for Fixed {
    fn zone(&self) -> Option<Arc<Zone>> {
        Some(Arc::new(zone()))
    }

    fn targets(&self) -> &dyn Targets {
        &Two
    }
}

fn started() -> (Server, SocketAddr) {
    started_at("127.0.0.1:0")
}

fn started_at(address: &str) -> (Server, SocketAddr) {
    let sockets = Sockets::bind(address.parse().unwrap()).unwrap();
    let address = sockets.address().unwrap();
    let source: Arc<dyn Source> = Arc::new(Fixed);
    (Server::start(vec![sockets], &source).unwrap(), address)
}

#[tokio::test]
async fn the_answer_comes_from_the_address_that_was_asked() {
    for (bound, asked) in [("0.0.0.0:0", ["127.0.0.1", "127.0.0.9"]), ("[::]:0", ["::1", "::1"])] {
        let (_server, address) = started_at(bound);
        for asked in asked {
            let asked = SocketAddr::new(asked.parse().unwrap(), address.port());
            // hickory takes no answer from elsewhere.
            let found = resolver(asked, false).lookup("k3v9x2.edge.example.com.", RecordType::A).await;
            assert_eq!(found.unwrap().answers().len(), 2, "{asked}");
        }
    }
}

fn resolver(address: SocketAddr, tcp: bool) -> TokioResolver {
    let mut server = if tcp { NameServerConfig::tcp(address.ip()) } else { NameServerConfig::udp(address.ip()) };
    server.connections.iter_mut().for_each(|connection| connection.port = address.port());
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = ResolverOpts::default();
    builder.build().unwrap()
}

#[tokio::test]
async fn a_resolver_finds_targets_by_udp_and_by_tcp() {
    let (_server, address) = started();
    for tcp in [false, true] {
        let resolver = resolver(address, tcp);
        let found = resolver.lookup("k3v9x2.edge.example.com.", RecordType::A).await.unwrap();
        assert_eq!(found.answers().len(), 2, "tcp: {tcp}");
        let none = resolver.lookup("nobody.edge.example.com.", RecordType::A).await.unwrap_err();
        assert!(none.is_nx_domain(), "{none}");
    }
}

#[tokio::test]
async fn one_address_has_few_connections_and_none_that_says_nothing() {
    let (_server, address) = started();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_OF_ONE {
        open.push(TcpStream::connect(address).await.unwrap());
    }
    let mut more = TcpStream::connect(address).await.unwrap();
    assert_eq!(more.read(&mut [0; 1]).await.unwrap_or_default(), 0, "it is closed at once");
    open.truncate(1);
    // Garbage ends a connection and nothing else.
    let mut another = TcpStream::connect(address).await.unwrap();
    another.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
    assert_eq!(another.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(resolver(address, true).lookup("k3v9x2.edge.example.com.", RecordType::A).await.is_ok());
}
