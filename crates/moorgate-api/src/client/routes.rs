//! Routes and certificates.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::Method;

use super::{Client, ClientError, url::Path};
use crate::view::{AddCertificate, AddRoute, Certificate, ChangeRoute, CheckedRoute, ExplainedRoute, Record, Route};

/// How long a look at DNS may take: servers that are asked may not answer.
const LOOKING: Duration = Duration::from_secs(60);

impl Client {
    /// Every route that the token may see, or those of one account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn routes(&self, account: Option<&str>) -> Result<Vec<Route>, ClientError> {
        let mut path = Path::of(["routes"]);
        path.ask("account", account);
        self.list(&path).await
    }

    /// One route.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn route(&self, domain: &str) -> Result<Route, ClientError> {
        self.get(&Path::of(["routes", domain])).await
    }

    /// Makes a route; it is served when this returns.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_route(&self, add: &AddRoute) -> Result<Route, ClientError> {
        self.send(Method::POST, &Path::of(["routes"]), add).await
    }

    /// Changes a route.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_route(&self, domain: &str, change: &ChangeRoute) -> Result<Route, ClientError> {
        self.send(Method::PATCH, &Path::of(["routes", domain]), change).await
    }

    /// Removes a route; its open flows are cut.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_route(&self, domain: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["routes", domain])).await
    }

    /// What a client of a domain would meet: one that comes from `client`, or one that may come.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain_route(&self, domain: &str, client: Option<IpAddr>) -> Result<ExplainedRoute, ClientError> {
        let mut path = Path::of(["routes", domain, "explain"]);
        path.ask("client", client.map(|client| client.to_string()).as_deref());
        self.get(&path).await
    }

    /// What a client of a route's domain finds in DNS, and what to set there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check_route(&self, domain: &str) -> Result<CheckedRoute, ClientError> {
        let request = self.request(Method::GET, &Path::of(["routes", domain, "check"]), Bytes::new())?;
        let answer = self.open_within(request, LOOKING).await?;
        self.parse(&self.collect(answer).await?)
    }

    /// The records to make so that the names in the zone are found.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn zone_records(&self) -> Result<Vec<Record>, ClientError> {
        self.get(&Path::of(["dns", "records"])).await
    }

    /// Every certificate that the token may see, or those of one account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn certificates(&self, account: Option<&str>) -> Result<Vec<Certificate>, ClientError> {
        let mut path = Path::of(["certificates"]);
        path.ask("account", account);
        self.list(&path).await
    }

    /// One certificate.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn certificate(&self, domain: &str) -> Result<Certificate, ClientError> {
        self.get(&Path::of(["certificates", domain])).await
    }

    /// Adds a domain's certificate, or replaces it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_certificate(&self, domain: &str, add: &AddCertificate) -> Result<Certificate, ClientError> {
        self.send(Method::PUT, &Path::of(["certificates", domain]), add).await
    }

    /// Orders a domain's certificate anew.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn renew_certificate(&self, domain: &str) -> Result<Certificate, ClientError> {
        self.read(self.request(Method::POST, &Path::of(["certificates", domain, "renew"]), Bytes::new())?).await
    }

    /// Removes a certificate.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_certificate(&self, domain: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["certificates", domain])).await
    }
}
