//! Connections to origins that wait for a request.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use moorgate_contract::route::OriginUrl;
use moorgate_net::runtime::now;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::target::Kept;

/// Connections to one origin that are kept for later requests.
const KEPT_PER_ORIGIN: usize = 64;
/// The longest that a connection to an origin is kept without a request; `[limits] idle_request`, if that is less. Below
/// the 60 s after which many servers close.
const KEPT_FOR: Duration = Duration::from_secs(50);

/// Every place where such connections wait.
pub(crate) struct WaitingRooms {
    places: Arc<Semaphore>,
    kept_for: Duration,
    rooms: Mutex<Vec<Weak<WaitingRoom>>>,
}

impl WaitingRooms {
    /// Rooms for so many connections in all, each for at most `idle_request`.
    pub(crate) fn new(places: usize, idle_request: Duration) -> Self {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self { places, kept_for: idle_request.min(KEPT_FOR), rooms: Mutex::default() }
    }

    /// A room for the connections of one version of a route.
    pub(super) fn open(&self) -> Arc<WaitingRoom> {
        let (idle, kept_for, places) = (Mutex::default(), self.kept_for, self.places.clone());
        let room = Arc::new(WaitingRoom { idle, kept_for, places });
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&room));
        room
    }

    /// Closes what has waited long enough: an origin that nobody asks for anything is left alone.
    pub(super) fn prune(&self) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|room| room.upgrade().inspect(|room| room.prune()).is_some());
    }
}

/// Of one version of a route, and gone with it, so nothing of it can serve another account.
pub(super) struct WaitingRoom {
    idle: Mutex<Vec<Idle>>,
    kept_for: Duration,
    places: Arc<Semaphore>,
}

struct Idle {
    url: OriginUrl,
    until: Instant,
    kept: Kept,
    _place: OwnedSemaphorePermit,
}

impl Idle {
    fn is_good(&mut self) -> bool {
        !self.kept.is_closed() && now() < self.until
    }
}

impl WaitingRoom {
    /// A kept connection to `url`, if one is alive. The one used last, so that the others can time out.
    pub(super) fn take(&self, url: &OriginUrl, shared: bool) -> Option<Kept> {
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let at = all.iter().rposition(|idle| idle.kept.is_shared() == shared && idle.url == *url)?;
            // What is no longer good is let go where it is met; the rest is `prune`'s.
            if !all.get_mut(at)?.is_good() {
                all.remove(at);
                continue;
            }
            if shared {
                let idle = all.get_mut(at)?;
                idle.until = now() + self.kept_for;
                return idle.kept.share();
            }
            return Some(all.remove(at).kept);
        }
    }

    /// Keeps a connection for later requests, if there is a place for it.
    pub(super) fn keep(&self, url: &OriginUrl, mut kept: Kept) {
        if kept.is_closed() {
            return;
        }
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let same = || all.iter().enumerate().filter(|(_, idle)| idle.url == *url);
        // One shared connection carries any number of requests.
        if kept.is_shared() && same().any(|(_, idle)| idle.kept.is_shared()) {
            return;
        }
        if same().count() >= KEPT_PER_ORIGIN
            && let Some((oldest, _)) = same().next()
        {
            all.remove(oldest);
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        all.push(Idle { url: url.clone(), until: now() + self.kept_for, kept, _place: place });
    }

    fn prune(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(Idle::is_good);
    }
}
