//! A deployment as a text, backups, evidence.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;

use super::{ANSWER, Client, ClientError, Path};
use crate::{
    server::MASTER_KEY,
    view::{AppliedText, ApplyText, Evidence, Rewrapped},
};

impl Client {
    /// Makes tiers, accounts and routes as a text says. `dry_run`: only says what would change. `prune`: what is there
    /// and not in the text is removed.
    ///
    /// # Errors
    /// [`ClientError`]; the problem of a wrong text begins with `line N:`.
    pub async fn apply(&self, text: &str, dry_run: bool, prune: bool) -> Result<AppliedText, ClientError> {
        let mut path = Path::of(["apply"]);
        path.ask("dry_run", dry_run.then_some("true"));
        path.ask("prune", prune.then_some("true"));
        let body = serde_json::to_vec(&ApplyText { text: text.to_owned() }).map_err(ClientError::Unwritable)?;
        let request = self.request(Method::POST, &path, body.into())?;
        let answer = self.open_within(request, LONG).await?;
        self.parse(&self.collect(answer).await?)
    }

    /// Tiers, accounts and routes as a text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export(&self) -> Result<Bytes, ClientError> {
        let request = self.request(Method::GET, &Path::of(["export"]), Bytes::new())?;
        let answer = self.open(request).await?;
        self.collect(answer).await
    }

    /// A sealed backup of everything, handed to `write` piece by piece. Answers with the id of the master key that opens
    /// it.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Kept`] when `write` fails.
    pub async fn backup(&self, mut write: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<String, ClientError> {
        let request = self.request(Method::GET, &Path::of(["backup"]), Bytes::new())?;
        let answer = self.open_within(request, LONG).await?;
        let key = answer.headers().get(MASTER_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
        let mut body = answer.into_body();
        while let Some(frame) = tokio::time::timeout(ANSWER, body.frame()).await.map_err(|_| self.too_slow())? {
            let cut =
                |source: hyper::Error| ClientError::CutShort { gateway: self.base.to_string(), source: source.into() };
            if let Ok(piece) = frame.map_err(cut)?.into_data() {
                write(&piece).map_err(ClientError::Kept)?;
            }
        }
        Ok(key)
    }

    /// Seals the store's key under the master key in use.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rewrap_secrets(&self) -> Result<Rewrapped, ClientError> {
        self.read(self.request(Method::POST, &Path::of(["secrets", "rewrap"]), Bytes::new())?).await
    }

    /// What an auditor asks of an account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence(&self, account: &str) -> Result<Evidence, ClientError> {
        self.get(&Path::of(["accounts", account, "evidence"])).await
    }
}

/// The longest that a large answer takes.
const LONG: std::time::Duration = std::time::Duration::from_secs(600);
