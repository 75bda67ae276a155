//! A name server of a test's own: UDP, TTL 0, every answer as the test likes.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};

/// A question: the name without its last dot, and how often it has been asked before (for this family).
pub struct Question<'a> {
    pub name: &'a str,
    pub before: usize,
}

pub struct Dns {
    pub address: SocketAddr,
    asked: Arc<Mutex<HashMap<(String, bool), usize>>>,
}

impl Dns {
    /// Answers with what `answer` says, of the family that was asked for; `None` is "no such name".
    pub fn start(at: IpAddr, answer: impl Fn(&Question<'_>) -> Option<Vec<IpAddr>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((at, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<HashMap<(String, bool), usize>>> = Arc::default();
        let counts = asked.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((size, peer)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Message::from_vec(&buffer[..size]) else { continue };
                let reply = reply(question, &counts, &answer);
                let _ = socket.send_to(&reply.to_vec().unwrap(), peer);
            }
        });
        Self { address, asked }
    }

    /// How often a name was asked for, over both families.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        [false, true].iter().filter_map(|v6| asked.get(&(name.to_owned(), *v6))).sum()
    }
}

fn reply(
    message: Message,
    counts: &Mutex<HashMap<(String, bool), usize>>,
    answer: &impl Fn(&Question<'_>) -> Option<Vec<IpAddr>>,
) -> Message {
    let query = message.queries[0].clone();
    let mut reply = message.into_response();
    reply.edns = None;
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let v6 = query.query_type() == RecordType::AAAA;
    let mut counts = counts.lock().unwrap();
    let count = counts.entry((name.clone(), v6)).or_default();
    let found = answer(&Question { name: &name, before: *count });
    *count += 1;
    match found {
        None => reply.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) => {
            for address in addresses.into_iter().filter(|address| address.is_ipv6() == v6) {
                let data = match address {
                    IpAddr::V4(address) => RData::A(address.into()),
                    IpAddr::V6(address) => RData::AAAA(address.into()),
                };
                reply.add_answer(Record::from_rdata(query.name().clone(), 0, data));
            }
        }
    }
    reply
}
