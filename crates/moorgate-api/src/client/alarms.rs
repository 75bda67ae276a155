//! Receivers of alarms.

use bytes::Bytes;
use http::Method;

use super::{Client, ClientError, url::Path};
use crate::view::{AddAlarm, Alarm, AlarmKind, AlarmResult, NewAlarm};

impl Client {
    /// The receivers of an account's alarms.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn alarms(&self, account: &str) -> Result<Vec<Alarm>, ClientError> {
        self.list(&Path::of(["accounts", account, "alarms"])).await
    }

    /// Makes a receiver; `None`: it is told of everything.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_alarm(
        &self,
        account: &str,
        receiver: &str,
        kinds: Option<Vec<AlarmKind>>,
    ) -> Result<NewAlarm, ClientError> {
        let add = AddAlarm { receiver: receiver.into(), kinds };
        self.send(Method::POST, &Path::of(["accounts", account, "alarms"]), &add).await
    }

    /// Removes a receiver.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_alarm(&self, account: &str, id: &str) -> Result<(), ClientError> {
        self.delete(&Path::of(["accounts", account, "alarms", id])).await
    }

    /// Tests a receiver.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn test_alarm(&self, account: &str, id: &str) -> Result<AlarmResult, ClientError> {
        let path = Path::of(["accounts", account, "alarms", id, "test"]);
        self.read(self.request(Method::POST, &path, Bytes::new())?).await
    }
}
