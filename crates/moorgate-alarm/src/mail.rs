//! Mail, handed to the operator's own server.

use std::{
    fmt::Debug,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lettre::{
    Address, Message,
    message::{
        Mailbox,
        header::{Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters},
        extension::ClientId,
    },
};
use moorgate_contract::{guard::Guard, snapshot::Site};
use moorgate_fetch::{Cause, dial, gateway};
use moorgate_net::connect::Connector;
use moorgate_tls::{Originator, SetupError, TrustRoots};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::{
    Event, Outcome,
    smtp::{MailSettings, Security},
};

/// How long all of a mail's way to the server may take.
const CONVERSATION: Duration = Duration::from_secs(60);

/// Sends mail. Cheap to clone.
#[derive(Clone)]
pub struct Mail {
    settings: Arc<MailSettings>,
    connector: Connector,
    originator: Originator,
    /// The operator has named the server: it may be anywhere.
    site: Arc<Site>,
}

/// Says that nobody has written it, so that nobody's absence is told in answer (RFC 3834 §5).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mail {
    /// Mail by these settings.
    ///
    /// # Errors
    /// [`SetupError`]: the CA that is to be trusted can't be read.
    pub fn new(settings: MailSettings, connector: Connector) -> Result<Self, SetupError> {
        let roots = settings.trust.clone().map_or(TrustRoots::System, TrustRoots::Pem);
        let everywhere = vec![
            IpNet::V4(Ipv4Net::new_assert([0; 4].into(), 0)),
            IpNet::V6(Ipv6Net::new_assert([0_u8; 16].into(), 0)),
        ];
        let site = Site { guard: Guard { allowed: everywhere, ..Guard::default() }, ..Site::default() };
        let originator = Originator::new(roots)?;
        Ok(Self { settings: Arc::new(settings), connector, originator, site: Arc::new(site) })
    }

    /// Sends one mail. `id` is the same when it is tried again, so that whoever has it twice can tell.
    pub(crate) async fn send(&self, to: &Address, id: &str, event: &Event) -> Outcome {
        match timeout(CONVERSATION, self.converse(to, id, event)).await {
            Ok(Ok(said)) => Outcome::Delivered(said),
            Ok(Err(error)) if is_final(&*error) => Outcome::Refused(words(&*error)),
            Ok(Err(error)) => Outcome::Failed(words(&*error)),
            Err(_) => Outcome::Failed(format!("the mail server was not done after {} s", CONVERSATION.as_secs())),
        }
    }

    async fn converse(&self, to: &Address, id: &str, event: &Event) -> Result<String, Cause> {
        let MailSettings { url, from, .. } = &*self.settings;
        let domain = from.0.email.domain();
        let message = Message::builder()
            .from(from.0.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(event.subject())
            .message_id(Some(format!("<{id}@{domain}>")))
            .header(AutoSubmitted)
            .body(event.text())?;
        let hello = ClientId::Domain(domain.to_owned());
        let mut connection = self.connect(&hello).await?;
        if let Some(user) = &url.user {
            let credentials = Credentials::new(user.clone(), self.password().await?);
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        let answer = connection.send(message.envelope(), &message.formatted()).await?;
        // It has the mail: how it says goodbye changes nothing.
        let _ = connection.quit().await;
        Ok(format!("{} {}", answer.code(), answer.first_line().unwrap_or_default()))
    }

    async fn connect(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, Cause> {
        let url = &self.settings.url;
        let (stream, peer) = dial(&self.connector, &self.site, gateway(), &url.place).await?;
        let name = url.place.name();
        let plain = match url.security {
            Security::Tls => {
                let stream = Transport { stream: self.originator.connect(stream, &name).await?, peer };
                return Ok(AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello).await?);
            }
            Security::StartTls | Security::Loopback => Box::new(Transport { stream, peer }),
        };
        let mut connection = AsyncSmtpConnection::connect_with_transport(plain, hello).await?;
        if url.security == Security::StartTls {
            let mut tls = TlsParameters::builder(name);
            if let Some(path) = &self.settings.trust {
                let pem = tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
                tls = tls.certificate_store(CertificateStore::None).add_root_certificate(Certificate::from_pem(&pem)?);
            }
            connection.starttls(tls.build()?, hello).await?;
        }
        Ok(connection)
    }

    async fn password(&self) -> Result<String, Cause> {
        let path = self.settings.password_file.as_ref().ok_or("smtp.password_file is not set")?;
        let text = tokio::fs::read_to_string(path).await.map(Zeroizing::new);
        let text = text.map_err(|error| format!("the password file {}: {error}", path.display()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Whether another try would be told the same: the server will not have it (RFC 5321 §4.2.1).
fn is_final(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<lettre::transport::smtp::Error>().is_some_and(lettre::transport::smtp::Error::is_permanent)
}

/// An error and its causes in one line.
pub(crate) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said.push_str(": ");
            said.push_str(&more);
        }
        cause = error.source();
    }
    said
}

/// A connection as the library takes it.
#[derive(Debug)]
struct Transport<S> {
    stream: S,
    peer: SocketAddr,
}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> AsyncTokioStream for Transport<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
