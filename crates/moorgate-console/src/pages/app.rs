//! An authenticator app, whose code is wanted with the password.

use askama::Template;
use axum::{extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use moorgate_control::{AppSetup, ControlError, Password};
use qrcode::{QrCode, render::svg};
use serde::Deserialize;

use super::{
    Frame, drawn, drawn_as, failed,
    you::{self, Confirming},
};
use crate::{
    Console,
    form::Form,
    guard::{From, Visitor},
};

/// The least width of the code that is scanned, in pixels.
const WIDTH: u32 = 220;

#[derive(Template)]
#[template(path = "app.html")]
struct AppPage<'a> {
    frame: Frame,
    problem: Option<&'a str>,
    setup: &'a AppSetup,
    /// As SVG; empty: the secret has to be typed.
    picture: String,
}

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryPage {
    frame: Frame,
    codes: Vec<String>,
}

fn drawn_setup(visitor: &Visitor, setup: &AppSetup, problem: Option<&str>) -> Response {
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = AppPage { frame: Frame::of(visitor, "/you"), problem, setup, picture: picture(&setup.link) };
    drawn_as(status, &page)
}

fn picture(link: &str) -> String {
    let Ok(code) = QrCode::new(link) else { return String::new() };
    let text = code.render::<svg::Color<'_>>().min_dimensions(WIDTH, WIDTH).build();
    // Inside a page it needs no declaration of its own.
    text.find("<svg").and_then(|at| text.get(at..)).unwrap_or_default().to_owned()
}

/// Shows what the app takes, to somebody who says their password.
pub(crate) async fn begin(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    headers: HeaderMap,
    Form(Confirming { password }): Form<Confirming>,
) -> Response {
    if let Err(wrong) = you::confirmed(&console, &visitor, from, &password).await {
        return you::with_problem(&console, &visitor, &headers, wrong);
    }
    match console.control.begin_app(&visitor.person.id) {
        Ok(setup) => drawn_setup(&visitor, &setup, None),
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
pub(crate) struct Setting {
    #[serde(default)]
    step: String,
    #[serde(default)]
    link: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    code: String,
}

/// The app has shown a code.
pub(crate) async fn set(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    headers: HeaderMap,
    Form(Setting { step, link, secret, code }): Form<Setting>,
) -> Response {
    let control = visitor.asks(&console, from, None);
    match control.set_app(&visitor.person.id, &visitor.sign_in, &step, &code).await {
        Ok(Some(codes)) => drawn(&RecoveryPage { frame: Frame::of(&visitor, "/you"), codes }),
        Ok(None) => {
            let wrong = "That is none of the app's codes. Is this machine's clock right, and the app's?";
            drawn_setup(&visitor, &AppSetup { link, secret, step }, Some(wrong))
        }
        Err(error @ ControlError::StoreDown(_)) => failed(&error),
        Err(error) => you::with_problem(&console, &visitor, &headers, error.to_string()),
    }
}

pub(crate) async fn remove(
    State(console): State<Console>,
    visitor: Visitor,
    from: From,
    headers: HeaderMap,
    Form(Confirming { password }): Form<Confirming>,
) -> Response {
    if let Some(said) = you::too_often(&console, &visitor, from) {
        return you::with_problem(&console, &visitor, &headers, said);
    }
    let control = visitor.asks(&console, from, None);
    match control.remove_app(&visitor.person.id, &Password::given(&password)).await {
        Ok(true) => you::with_done(&console, &visitor, &headers, "No code is asked for any more."),
        Ok(false) => you::with_problem(&console, &visitor, &headers, you::WRONG.to_owned()),
        Err(error) => failed(&error),
    }
}
