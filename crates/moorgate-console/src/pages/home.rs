//! Where one comes in: the one account, or a choice of them.

use askama::Template;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::{Frame, drawn};
use crate::guard::Visitor;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    accounts: Vec<(String, &'static str)>,
}

pub(crate) async fn page(visitor: Visitor) -> Response {
    let mut roles = visitor.person.roles.iter();
    match (visitor.person.operator, roles.next(), roles.next()) {
        (true, ..) => Redirect::to("/accounts").into_response(),
        (false, Some((account, _)), None) => Redirect::to(&format!("/a/{account}")).into_response(),
        _ => {
            let accounts = visitor.person.roles.iter().map(|(name, role)| (name.clone(), role.name())).collect();
            drawn(&HomePage { frame: Frame::of(&visitor, "/"), accounts })
        }
    }
}
