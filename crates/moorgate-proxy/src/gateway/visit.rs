//! One connection's way through the gateway: who asks, whether they may, its place, and its target.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use moorgate_contract::{
    account::{Account, Place, Principal},
    admit::admit_one,
    balance::InUse,
    decide::{Ask, Destination, Plan, Transport, decide},
    failure::{Code, Failure},
    flow::{Kind, OpenFlow},
    inbound::{Routed, find},
    listener::Listener,
    outcome::Ending,
};
use moorgate_net::{
    connect::{Connected, NotConnected},
    registry::{Dialled, Owner, Registered},
};
use moorgate_wire::{host::Asked, name::DomainName};

use super::{Gateway, Visit, now};

/// What a connection counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody knows yet what it wants.
    Stranger,
    /// A route has let it in; whose it is nobody asks.
    Guest,
    /// It has authenticated, and counts for its account.
    Known,
}

/// A flow's place in the registry, in its account's count, and in its origin's.
pub(crate) struct Entered {
    pub(crate) open: Registered,
    /// Inbound, once an origin was chosen.
    origin: Mutex<Option<InUse>>,
    _place: Place,
}

impl Entered {
    /// Counts it for the origin that was chosen, no longer for one before.
    pub(crate) fn uses(&self, origin: InUse) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin);
    }
}

/// What a head turned out to want: on whose behalf, and the plan.
pub(crate) struct Decided {
    pub(crate) principal: Principal,
    pub(crate) plan: Plan,
}

impl Visit {
    /// Opens the flow of the connection itself (its first), or of a later request that began at `since`.
    pub(crate) fn open_flow(&self, since: Instant) -> OpenFlow {
        self.gateway.open_flow(self.listener, self.client, since)
    }

    /// Who this is, by username and password.
    pub(crate) fn authenticate(
        &self,
        presented: Option<(&str, &[u8])>,
        flow: &mut OpenFlow,
    ) -> Result<Principal, Failure> {
        let principal = self.gateway.snapshot().authenticate(presented, now())?;
        flow.record.account = Some(principal.account.name.clone());
        flow.record.username = Some(principal.username.clone());
        flow.record.whose.account = Some(principal.account.id);
        flow.record.whose.credential = Some(principal.credential);
        principal.let_in(self.client.ip())?;
        self.becomes_known();
        Ok(principal)
    }

    /// The first step of the decision.
    pub(crate) fn decide(
        &self,
        principal: Principal,
        asked: &Asked,
        transport: Transport,
        flow: &mut OpenFlow,
    ) -> Result<Decided, Failure> {
        flow.record.target = Some(asked.shared_text());
        if self.gateway.drain.is_cancelled() {
            return Err(Failure::new(Code::Draining, "this gateway is going down; connect again in a moment"));
        }
        let plan = decide(
            &Ask { account: &principal.account, credential: Some(&principal.bounds), asked, transport },
            &mut (),
        )?;
        Ok(Decided { principal, plan })
    }

    /// Enters a decided flow where revocation and the sweep find it.
    pub(crate) fn enter(&self, decided: &Decided, flow: &OpenFlow) -> Result<Entered, Failure> {
        let Decided { principal, plan } = decided;
        let gateway = &self.gateway;
        let place = self.place(&principal.account)?;
        let host = plan.asked.host.clone().map_err(|why| Failure::new(Code::HostNotCanonical, why))?;
        let owner = Owner::Outbound {
            account: principal.account.id,
            credential: principal.credential,
            secret: principal.secret,
            host,
            port: plan.port,
            client: self.client.ip(),
        };
        if let Some(quota) = &principal.account.quota {
            flow.meter().spend_of(quota);
        }
        let open = gateway.registry.register(self.worker, owner, flow.meter().clone());
        // Revoked between authentication and here: the walk over the registry came too early to find it.
        if !gateway.snapshot().still_has(principal, now()) {
            return Err(Failure::new(Code::CredentialsWrong, "this credential has just been revoked"));
        }
        Ok(Entered { open, origin: Mutex::default(), _place: place })
    }

    /// Enters a flow of a route where revocation and the sweep find it.
    pub(crate) fn enter_route(&self, routed: &Routed, flow: &OpenFlow) -> Result<Entered, Failure> {
        let Routed { route, account } = routed;
        let gateway = &self.gateway;
        if gateway.drain.is_cancelled() {
            return Err(Failure::new(Code::Draining, "this gateway is going down; connect again in a moment"));
        }
        self.becomes_guest()?;
        let place = self.place(account)?;
        let owner = Owner::Inbound { account: account.id, route: route.id };
        if let Some(quota) = &account.quota {
            flow.meter().spend_of(quota);
        }
        let open = gateway.registry.register(self.worker, owner, flow.meter().clone());
        // Removed between decision and here: the walk over the registry came too early to find it.
        if !gateway.snapshot().still_routes(route) {
            return Err(Failure::new(Code::DomainUnknown, "this route has just been removed"));
        }
        Ok(Entered { open, origin: Mutex::default(), _place: place })
    }

    /// What an account's quotas and limits leave for one tunnel or exchange. The place first: a request that finds none is
    /// not let through, and must not count.
    fn place(&self, account: &Account) -> Result<Place, Failure> {
        let place = account.take_place(self.gateway.limits.connections_per_account)?;
        account.take_request(now)?;
        Ok(place)
    }

    /// Finds the route of what the client named, and notes whose it is: whatever becomes of the client is in that
    /// account's log.
    pub(crate) fn route(&self, name: Option<&DomainName>, flow: &mut OpenFlow) -> Result<Routed, Failure> {
        let routed = find(&self.gateway.snapshot(), name, &mut ())?;
        flow.record.account = Some(routed.account.name.clone());
        flow.record.route = Some(routed.route.text.clone());
        flow.record.whose.account = Some(routed.account.id);
        flow.record.whose.route = Some(routed.route.id);
        flow.record.mode = Some(routed.route.mode);
        Ok(routed)
    }

    /// The place of a terminated connection itself, beside its requests' own. `None`: its route is gone.
    pub(crate) fn enter_connection(&self, routed: &Routed) -> Option<Registered> {
        let Routed { route, account } = routed;
        let owner = Owner::Inbound { account: account.id, route: route.id };
        let open = self.gateway.registry.register(self.worker, owner, Arc::default());
        self.gateway.snapshot().still_routes(route).then_some(open)
    }

    /// Whether whoever connected is a load balancer that says on whose behalf. Asked before it has said so.
    pub(crate) fn is_from_load_balancer(&self) -> bool {
        self.gateway.snapshot().site.load_balancers.iter().any(|net| net.contains(&self.client.ip()))
    }

    /// Learns from a load balancer who the client is, and counts it there. `false` when too many come from there already.
    pub(crate) fn speaks_for(&mut self, client: SocketAddr) -> bool {
        self.client = client;
        let fits = self.gateway.strangers.enter(client.ip());
        if fits {
            self.gateway.strangers.leave(self.counted);
            self.counted = client.ip();
        }
        fits
    }

    /// From here on it counts for its account, no longer for its address.
    fn becomes_known(&self) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if *standing == Standing::Stranger {
            self.gateway.strangers.leave(self.counted);
            *standing = Standing::Known;
        }
    }

    /// From here on it counts among those that routes have let in from its address.
    fn becomes_guest(&self) -> Result<(), Failure> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if *standing != Standing::Stranger {
            return Ok(());
        }
        let Gateway { strangers, guests, .. } = &*self.gateway;
        if !guests.enter(self.counted) {
            let said = format_args!(
                "{} has {} inbound connections open, which is the limit for one address ([limits] inbound_per_client)",
                self.counted, guests.most
            );
            return Err(Failure::new(Code::Full, said));
        }
        strangers.leave(self.counted);
        *standing = Standing::Guest;
        Ok(())
    }

    /// Resolves, admits and connects within `limit`, unless somebody revokes it meanwhile.
    pub(crate) async fn connect(
        &self,
        plan: &Plan,
        entered: &Entered,
        flow: &mut OpenFlow,
        limit: Duration,
    ) -> Result<Connected, Failure> {
        let site = self.gateway.snapshot().site.clone();
        let connected = tokio::select! {
            connected = self.gateway.connector.connect(&site, plan, limit) => connected,
            ending = std::future::poll_fn(|cx| entered.open.poll_cut(cx)) => Err(NotConnected::from(self.just_cut(ending))),
        };
        match connected {
            Ok(connected) => {
                flow.record.address = Some(connected.address);
                flow.record.egress = Some(connected.egress);
                flow.record.tries += connected.tries;
                entered.open.dialled(Dialled { address: connected.address.ip(), egress: connected.egress });
                if flow.record.kind == Kind::Tunnel {
                    flow.answered();
                }
                Ok(connected)
            }
            Err(NotConnected { failure, address, tries }) => {
                flow.record.address = address;
                flow.record.tries += tries;
                Err(failure)
            }
        }
    }

    fn just_cut(&self, ending: Ending) -> Failure {
        if ending == Ending::QuotaSpent {
            let said = "the account's bytes of this month are spent; ask your operator for a larger tier";
            return Failure::new(Code::QuotaSpent, said);
        }
        match self.listener {
            Listener::InboundHttp | Listener::InboundTls => {
                Failure::new(Code::DomainUnknown, "this route has just been removed")
            }
            _ => Failure::new(Code::CredentialsWrong, "this credential has just been revoked"),
        }
    }

    /// Judges once more an address that an earlier request of this connection was connected to.
    pub(crate) fn admit_again(&self, plan: &Plan, address: IpAddr) -> Result<(), Failure> {
        let site = self.gateway.snapshot().site.clone();
        admit_one(
            &site.guard,
            &self.gateway.connector.presence().now(),
            plan,
            SocketAddr::new(address, plan.port),
            &mut (),
        )
    }

    /// Whether a connection of an earlier request that left from `egress` may carry another.
    pub(crate) fn may_leave_from(&self, plan: &Plan, egress: IpAddr) -> bool {
        let pair = plan.egress();
        pair.is_kernels_choice()
            || (pair.addresses().contains(&egress) && self.gateway.connector.presence().now().has(egress))
    }

    /// The address that a destination would have seen: for the echo, which connects to nothing.
    pub(crate) fn would_leave_from(&self, plan: &Plan) -> Result<IpAddr, Failure> {
        debug_assert_eq!(plan.destination, Destination::Echo);
        self.gateway.connector.would_leave_from(plan, self.gateway.snapshot().site.loopback_profile)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(open) = self.gateway.open.get(self.listener as usize) {
            open.fetch_sub(1, Relaxed);
        }
        match *self.standing.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Standing::Stranger => self.gateway.strangers.leave(self.counted),
            Standing::Guest => self.gateway.guests.leave(self.counted),
            Standing::Known => {}
        }
    }
}
