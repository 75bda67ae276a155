//! Flows as they end, for whoever watches.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use http::StatusCode;
use moorgate_api::server::Stopping;
use moorgate_control::Recorded;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Filter, Row};
use crate::{Console, form::Query, guard::Inside, pages};

/// Windows in which one person may watch: a browser has six connections to a gateway, and needs some for the rest.
const WATCHED: usize = 4;

/// In how many windows each person watches.
#[derive(Default)]
pub(crate) struct Watching(Mutex<HashMap<String, usize>>);

/// A window, until it is closed.
struct Window {
    watching: Arc<Watching>,
    person: String,
}

impl Window {
    /// `None`: there are enough.
    fn open(watching: &Arc<Watching>, person: &str) -> Option<Self> {
        let mut all = watching.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.entry(person.to_owned()).or_default();
        if *open >= WATCHED {
            return None;
        }
        *open += 1;
        Some(Self { watching: watching.clone(), person: person.to_owned() })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut all = self.watching.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&self.person) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                all.remove(&self.person);
            }
        }
    }
}

#[derive(Template)]
#[template(path = "flow_row.html")]
struct LiveRow<'a> {
    account: &'a str,
    one: Row,
}

/// What a stream is made of.
struct Stream {
    flows: Receiver<Arc<Recorded>>,
    stopping: Option<Stopping>,
    console: Console,
    inside: Inside,
    filter: Filter,
    _window: Window,
}

impl Stream {
    /// The next row; `None`: the gateway goes down, or whoever watches may not any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let mut told = self.stopping.clone();
            let ended = async {
                match &mut told {
                    Some(told) => told.wait().await,
                    None => std::future::pending().await,
                }
            };
            let recorded = tokio::select! {
                () = ended => return None,
                flow = self.flows.recv() => match flow {
                    Ok(recorded) => recorded,
                    // Who is too slow misses some; the page has them when it is loaded again.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                },
            };
            // Whoever is signed out meanwhile, or put out of the account, sees no more.
            let (control, visitor, account) = (&self.console.control, &self.inside.visitor, &*self.inside.account);
            let is_in = control.list_sign_ins(&visitor.person.id).iter().any(|one| one.id == visitor.sign_in)
                && control.may_see(&visitor.person.id, account);
            if !is_in {
                return None;
            }
            let flow = &recorded.flow;
            if flow.account.as_deref() == Some(account) && self.filter.fits(flow) {
                let row = LiveRow { account, one: Row::of(flow) }.render().unwrap_or_default();
                return Some(Event::default().data(row));
            }
        }
    }
}

/// Flows as they end, a row of the table each.
pub(crate) async fn live(
    State(console): State<Console>,
    inside: Inside,
    stopping: Option<Extension<Stopping>>,
    Query(filter): Query<Filter>,
) -> Response {
    let Some(window) = Window::open(&console.watching, &inside.visitor.person.id) else {
        let said = "You watch traffic in several windows already. Close one of them, then load this page again; \
                    what came through is on it either way.";
        return pages::refusal(StatusCode::TOO_MANY_REQUESTS, "Enough windows", said);
    };
    let stream = Stream {
        flows: console.control.follow(),
        stopping: stopping.map(|Extension(stopping)| stopping),
        console,
        inside,
        filter,
        _window: window,
    };
    let rows = futures_util::stream::unfold(stream, |mut stream| async {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Sse::new(rows).keep_alive(KeepAlive::default()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_closes_a_window_may_open_another() {
        let watching = Arc::<Watching>::default();
        let mut open: Vec<Window> = (0..WATCHED).map(|_| Window::open(&watching, "ann").unwrap()).collect();
        assert!(Window::open(&watching, "ann").is_none());
        assert!(Window::open(&watching, "bob").is_some(), "each for themselves");
        open.pop();
        open.push(Window::open(&watching, "ann").unwrap());
        open.clear();
        assert!(watching.0.lock().unwrap().is_empty(), "nobody is remembered who does not watch");
    }
}
