//! The local CA that the gateways on a store share.

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, query, query_as};

use super::Tx;
use crate::error::StoreError;

/// A CA as it is stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredCa {
    /// In PEM.
    pub(crate) certificate: String,
    /// PKCS#8 in DER, sealed under the store's key.
    pub(crate) key: Vec<u8>,
}

/// The CA that is stored, if there is one.
pub(super) async fn ca(connection: &mut AnyConnection) -> Result<Option<StoredCa>, sqlx::Error> {
    let (certificate, key): (Option<String>, Option<Vec<u8>>) =
        query_as("SELECT ca, ca_key FROM store").fetch_one(connection).await?;
    Ok(certificate.zip(key).map(|(certificate, key)| StoredCa { certificate, key }))
}

impl Tx {
    /// The CA that is stored, if there is one.
    pub(crate) async fn ca(&mut self) -> Result<Option<StoredCa>, StoreError> {
        let failed = self.failed();
        ca(self.connection()).await.map_err(failed)
    }

    /// Stores a CA in place of any other.
    pub(crate) async fn set_ca(&mut self, ca: &StoredCa) -> Result<(), StoreError> {
        let failed = self.failed();
        query("UPDATE store SET ca = $1, ca_key = $2")
            .bind(&ca.certificate)
            .bind(&ca.key)
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(failed)
    }
}
