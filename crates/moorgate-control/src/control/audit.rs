//! The audit log: read, and proven untouched.

use std::net::IpAddr;

use moorgate_contract::time::Timestamp;
use serde_json::Value;

use super::{Control, Inner};
use crate::{
    error::Result,
    limits::{AUDIT_BATCH, MAX_AUDIT_READ},
    store::{Head, Written},
    views::{AuditEntry, AuditVerdict, Who},
};

/// Which entries to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only those that concern this account, by name.
    pub account: Option<String>,
    /// Only those before this one; `None`: from the newest on.
    pub before: Option<u64>,
    /// At most so many; from 1 to [`MAX_AUDIT_READ`](crate::MAX_AUDIT_READ).
    pub limit: u32,
}

impl Control {
    /// Entries of the audit log, the newest first.
    ///
    /// # Errors
    /// [`ControlError::NotFound`](crate::ControlError) for an account that does not exist;
    /// [`ControlError::StoreDown`](crate::ControlError).
    pub async fn audit(&self, filter: AuditFilter) -> Result<Vec<AuditEntry>> {
        let before = filter.before.unwrap_or(u64::MAX);
        let limit = filter.limit.clamp(1, MAX_AUDIT_READ);
        let since = match &filter.account {
            // What an account of that name before it did is none of its business.
            Some(name) => self.inner.account_row(name)?.created,
            None => Timestamp(0),
        };
        let account = filter.account;
        let read = async move |mut store: crate::store::Store| {
            let rows = store.audit_before(before, limit, account.as_deref()).await?;
            Ok((store, rows))
        };
        let rows = self.aside(read).await?;
        Ok(rows.into_iter().filter(|row| row.at >= since).map(shown).collect())
    }

    /// Goes through the whole log: whether each entry is what was written, none is missing, and the end is the end.
    ///
    /// # Errors
    /// [`ControlError::StoreDown`](crate::ControlError).
    pub async fn verify_audit(&self) -> Result<AuditVerdict> {
        let known = self.inner.book().audit_head();
        let (mut so_far, mut is_marked) = (Head::default(), false);
        loop {
            let after = so_far.seq;
            let read = async move |mut store: crate::store::Store| {
                let (rows, end) = (store.audit_after(after, AUDIT_BATCH).await?, store.audit_head().await?);
                Ok((store, (rows, end)))
            };
            let (rows, end) = self.aside(read).await?;
            for row in &rows {
                let is_unmarked = !is_marked && row.hash == row.unmarked_hash(&self.inner.chain, &so_far.hash);
                is_marked |= !is_unmarked;
                if let Some(problem) = self.inner.wrong(&so_far, row, is_unmarked, &known) {
                    return Ok(AuditVerdict::new(&so_far, Some(problem)));
                }
                so_far = Head { seq: row.seq, hash: row.hash.clone(), ..Head::default() };
            }
            if rows.len() < AUDIT_BATCH as usize {
                let is_left_so = end.is_marked(&self.inner.chain) || (!is_marked && end.mark.is_empty());
                return Ok(AuditVerdict::new(&so_far, missing(&so_far, &end, &known, is_left_so)));
            }
        }
    }
}

impl Inner {
    /// What is wrong with an entry, in words.
    fn wrong(&self, before: &Head, row: &Written, is_unmarked: bool, known: &Head) -> Option<String> {
        let seq = row.seq;
        if seq != before.seq + 1 {
            let (first, last) = (before.seq + 1, seq - 1);
            return Some(match last - first {
                0 => format!("entry {first} is missing"),
                _ => format!("entries {first} to {last} are missing"),
            });
        }
        if !is_unmarked && row.right_hash(&self.chain, &before.hash) != row.hash {
            return Some(format!("entry {seq} is not what was written"));
        }
        (seq == known.seq && row.hash != known.hash)
            .then(|| format!("entry {seq} is another than the one this gateway has seen"))
    }
}

/// What is wrong with where the log ends. `is_left_so`: a gateway left it there.
fn missing(so_far: &Head, end: &Head, known: &Head, is_left_so: bool) -> Option<String> {
    let last = end.seq.max(known.seq);
    if so_far.seq < last {
        return Some(format!("the entries after {} are missing, up to {last}", so_far.seq));
    }
    if so_far.hash != end.hash {
        return Some(format!("the end of the log is not that of entry {}", so_far.seq));
    }
    (!is_left_so).then(|| "the end of the log was moved, now or earlier: entries after it were removed".into())
}

fn shown(row: Written) -> AuditEntry {
    let json = |text: Option<String>| text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let client = row.client.as_deref().and_then(|client| client.parse::<IpAddr>().ok());
    AuditEntry {
        seq: row.seq,
        at: row.at,
        gateway: row.gateway,
        who: Who::of(row.token, row.owner),
        client,
        action: row.action,
        kind: row.kind,
        name: row.name,
        account: row.account,
        before: json(row.before),
        after: json(row.after),
        hash: hex(&row.hash),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
