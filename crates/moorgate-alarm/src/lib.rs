//! How alarms reach people: webhooks, signed by [Standard Webhooks](https://www.standardwebhooks.com/), and mail (RFC 5321).
//!
//! Keeps nothing: what is told to whom, and when it is tried again, is the caller's. A webhook passes the same guard as the
//! account's traffic; the mail server is the operator's own choice, and passes none.

mod courier;
mod event;
mod mail;
mod receiver;
mod smtp;
mod webhook;

pub use courier::{Courier, Letter, Outcome};
pub use event::{Event, Matter};
pub use mail::Mail;
pub use receiver::{MAX_RECEIVER, Receiver, WrongReceiver};
pub use smtp::{MailSettings, Sender, SmtpUrl, WrongSmtp};
pub use webhook::WebhookSecret;
