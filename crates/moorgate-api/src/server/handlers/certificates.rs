//! `certificates`: what routes show in place of the local CA's. A private key comes in and is never answered.

use axum::{Extension, extract::State, response::Response};
use http::{StatusCode, Uri};
use moorgate_control::{CertificateView, What};

use super::{
    Answer,
    owned::{self, Whose, absent, owner},
};
use crate::{
    problem::Problem,
    server::{
        ApiState,
        access::Caller,
        extract::{Acting, FILES_BYTES, Json, Path, Query},
        page::Listing,
    },
    view::{AddCertificate, Certificate},
};

/// A certificate, if the caller may see it.
async fn seen(api: &ApiState, caller: &Caller, domain: &str) -> Result<CertificateView, Problem> {
    let found = api.control.certificate(domain).await;
    owned::seen(found, |certificate| &certificate.account, caller, What::Certificate, domain)
}

/// Lists the certificates that the token may see, by domain.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "certificates",
    params(("account" = Option<String>, Query, description = "Only this account's")),
    responses((status = OK, body = Vec<Certificate>)))]
pub(super) async fn list_certificates(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let page = whose.page(Listing::Certificates)?;
    let account = whose.account(&api, &caller).await?;
    let rows = api.control.certificates_after(account.as_deref(), &page.after, page.fetch()).await;
    let rows: Vec<Certificate> = rows.into_iter().map(Certificate::from).collect();
    page.answer(&uri, &rows, |row| row.domain.clone())
}

/// Shows one certificate.
#[utoipa::path(get, path = "/api/v1/certificates/{domain}", tag = "certificates",
    params(("domain" = String, Path, description = "The domain whose route shows it")),
    responses((status = OK, body = Certificate)))]
pub(super) async fn show_certificate(
    State(api): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
) -> Answer<Certificate> {
    Ok(axum::Json(seen(&api, &caller, &domain).await?.into()))
}

/// Adds a domain's certificate, or replaces it. New handshakes get it when this answers.
#[utoipa::path(put, path = "/api/v1/certificates/{domain}", tag = "certificates", request_body = AddCertificate,
    params(("domain" = String, Path, description = "The domain whose route is to show it")),
    responses((status = OK, body = Certificate)))]
pub(super) async fn add_certificate(
    Acting(api): Acting,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
    Json(add): Json<AddCertificate, FILES_BYTES>,
) -> Answer<Certificate> {
    let account = owner(&caller, add.account)?;
    if !caller.is_operator() && is_anothers(&api, &caller, &domain).await {
        return Err(absent(What::Certificate, &domain));
    }
    let (chain, key) = (add.chain.as_bytes(), add.key.as_bytes());
    Ok(axum::Json(api.control.add_certificate(account.as_deref(), &domain, chain, key).await?.into()))
}

/// Whether another account has the domain's route or certificate.
async fn is_anothers(api: &ApiState, caller: &Caller, domain: &str) -> bool {
    let of_route = api.control.route(domain).await.map(|route| route.account);
    let of_certificate = api.control.certificate(domain).await.map(|certificate| certificate.account);
    [of_route, of_certificate].into_iter().flatten().any(|account| !caller.sees(&account))
}

/// Orders a domain's certificate anew, as soon as it can be. What is shown now is shown until the new one is there.
#[utoipa::path(post, path = "/api/v1/certificates/{domain}/renew", tag = "certificates",
    params(("domain" = String, Path, description = "The domain")),
    responses((status = ACCEPTED, body = Certificate)))]
pub(super) async fn renew_certificate(
    Acting(api): Acting,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
) -> Result<(StatusCode, axum::Json<Certificate>), Problem> {
    let found = seen(&api, &caller, &domain).await?;
    api.control.renew_certificate(&domain).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(api.control.certificate(&domain).await.unwrap_or(found).into())))
}

/// Removes a certificate; the domain's route shows one of the local CA from now on.
#[utoipa::path(delete, path = "/api/v1/certificates/{domain}", tag = "certificates",
    params(("domain" = String, Path, description = "The domain whose route shows it")),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove_certificate(
    Acting(api): Acting,
    Extension(caller): Extension<Caller>,
    Path(domain): Path<String>,
) -> Result<StatusCode, Problem> {
    seen(&api, &caller, &domain).await?;
    api.control.remove_certificate(&domain).await?;
    Ok(StatusCode::NO_CONTENT)
}
