//! One question to one server, and what it said: nothing is cached.

use std::{fmt, net::SocketAddr, time::Duration};

use hickory_net::{
    NetError,
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    udp::UdpClientStream,
    xfer::{DnsHandle, DnsRequestSender, FirstAnswer},
};
use hickory_proto::{
    op::{DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};

/// The longest that one question takes by UDP, asked twice, and again by TCP.
const PATIENCE: Duration = Duration::from_secs(3);
/// Until it is asked a second time.
const AGAIN: Duration = Duration::from_millis(1_200);
/// What an answer by UDP may have (RFC 9715 §3.2).
const PAYLOAD: u16 = 1_232;

/// Whom a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// One that finds out what it does not know.
    Resolver(SocketAddr),
    /// One that says what it knows itself.
    Authority(SocketAddr),
}

impl Asked {
    /// Where it is.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Resolver(address) | Self::Authority(address) => address,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address();
        if address.port() == 53 { write!(f, "{}", address.ip()) } else { write!(f, "{address}") }
    }
}

/// Why a server said nothing of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// It did not answer, or not with DNS.
    Silent,
    /// It said that it can't or won't, such as SERVFAIL.
    Refused(String),
}

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Whether there is such a name.
    pub exists: bool,
    /// What was asked for, behind the aliases on the way there.
    pub answers: Vec<Record>,
    /// The SOA that came with it, if one did: of the zone that the name is in.
    pub soa: Option<Record>,
}

impl Reply {
    /// How long it holds that there is nothing, in seconds (RFC 2308 §5).
    pub fn negative_ttl(&self) -> Option<u32> {
        let soa = self.soa.as_ref()?;
        let RData::SOA(data) = &soa.data else { return None };
        Some(soa.ttl.min(data.minimum))
    }

    /// What was asked for, without the aliases.
    pub fn data(&self, kind: RecordType) -> impl Iterator<Item = &RData> {
        self.answers.iter().filter(move |record| record.record_type() == kind).map(|record| &record.data)
    }

    /// The names that `name` is another name of, each with how long that holds, in the order in which they lead on.
    pub fn aliases(&self, name: &Name) -> Vec<(Name, u32)> {
        let (mut aliases, mut at) = (Vec::new(), name.clone());
        // One for each record: no circle is gone round twice.
        for _ in &self.answers {
            let next = self.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(to) if record.name == at => Some((to.0.clone(), record.ttl)),
                _ => None,
            });
            let Some((to, ttl)) = next else { break };
            at = to.clone();
            aliases.push((to, ttl));
        }
        aliases
    }
}

/// Asks for records of `kind` of `name`.
///
/// # Errors
/// It said nothing of use.
pub async fn ask(asked: Asked, name: &Name, kind: RecordType) -> Result<Reply, Unsaid> {
    let said = tokio::time::timeout(PATIENCE, exchange(asked, name, kind)).await;
    let response = said.map_err(|_| Unsaid::Silent)?.map_err(|_| Unsaid::Silent)?.into_message();
    let exists = match response.metadata.response_code {
        ResponseCode::NoError => true,
        ResponseCode::NXDomain => false,
        code => return Err(Unsaid::Refused(word(code))),
    };
    let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
    let soa = response.authorities.iter().chain(&response.answers).find(is_soa).cloned();
    Ok(Reply { exists, answers: response.answers, soa })
}

/// As dig and its like write it.
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        code => format!("{code:?}").to_uppercase(),
    }
}

async fn exchange(asked: Asked, name: &Name, kind: RecordType) -> Result<DnsResponse, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut udp = UdpClientStream::builder(asked.address(), provider.clone())
        .with_timeout(Some(PATIENCE))
        .with_max_retries(1)
        .with_retry_interval_floor(AGAIN.as_millis() as u64)
        .build();
    let response = udp.send_message(request(asked, name, kind)).first_answer().await?;
    if !response.metadata.truncation {
        return Ok(response);
    }
    let tcp = TcpClientStream::exchange(asked.address(), None, PATIENCE, None, provider).await?;
    tcp.send(request(asked, name, kind)).first_answer().await
}

fn request(asked: Asked, name: &Name, kind: RecordType) -> DnsRequest {
    let recursion = matches!(asked, Asked::Resolver(_));
    let mut message = Message::query();
    message.metadata.recursion_desired = recursion;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0);
    message.set_edns(edns);
    let mut options = DnsRequestOptions::default();
    options.recursion_desired = recursion;
    DnsRequest::new(message, options)
}
