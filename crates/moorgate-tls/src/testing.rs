//! What the tests of this crate share: a CA with its file, and both ends of a connection.

use moorgate_keys::{CertifiedChain, LocalCa};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::{CertSource, Originator, TerminateError, Terminator, TlsStream, TrustRoots};

/// A local CA whose certificate lies in a file.
pub(crate) struct Ca {
    pub(crate) ca: LocalCa,
    dir: TempDir,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let (ca, dir) = (LocalCa::create("Test CA").unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("ca.pem"), ca.cert_pem()).unwrap();
        Self { ca, dir }
    }

    pub(crate) fn pem(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn issue(&self) -> CertifiedChain {
        let names = ["localhost", "127.0.0.1"].map(|name| name.parse().unwrap());
        self.ca.issue(&names).unwrap()
    }

    pub(crate) fn terminator(&self) -> Terminator {
        self.terminator_for(&[])
    }

    pub(crate) fn terminator_for(&self, alpn: &[&[u8]]) -> Terminator {
        Terminator::new(CertSource::new(&self.issue()).unwrap(), alpn).unwrap()
    }

    pub(crate) fn originator(&self) -> Originator {
        Originator::new(TrustRoots::Pem(self.pem())).unwrap()
    }
}

/// Both ends of a TCP connection, the client's first.
pub(crate) async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// Lets a raw client speak to a terminator.
pub(crate) async fn accepting(
    terminator: &Terminator,
) -> (TcpStream, tokio::task::JoinHandle<Result<TlsStream, TerminateError>>) {
    let (client, accepted) = tcp_pair().await;
    let terminator = terminator.clone();
    (client, tokio::spawn(async move { terminator.accept(accepted).await }))
}
