//! Bounds on what can grow.

use std::time::Duration;

/// The most accounts of a gateway: each is held in memory.
pub const MAX_ACCOUNTS: usize = 100_000;
/// The most credentials of one account.
pub const MAX_CREDENTIALS: usize = 1_000;
/// The most API tokens of one account, and of the operators together.
pub const MAX_TOKENS: usize = 1_000;
/// The most people who may use the console.
pub(crate) const MAX_PEOPLE: usize = 100_000;
/// The most invitations that are open.
pub(crate) const MAX_INVITATIONS: usize = 10_000;
/// The most browsers that one person is signed in with; the oldest makes room.
pub(crate) const MAX_SIGN_INS: usize = 20;
/// How long an invitation can be taken up.
pub(crate) const INVITATION_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long somebody is signed in, at most.
pub(crate) const SIGN_IN_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest password of a person, in characters (NIST SP 800-63B §5.1.1.2 asks for 8), and the longest: hashing costs by
/// the byte.
pub const MIN_PASSWORD: usize = 10;
/// See [`MIN_PASSWORD`].
pub(crate) const MAX_PASSWORD: usize = 256;
/// Passwords that are hashed at once: each takes 19 MiB for some hundredths of a second.
pub(crate) const HASHED_AT_ONCE: usize = 2;
/// The most receivers of one account's alarms.
pub const MAX_ALARMS: usize = 20;
/// The most that waits for one receiver; what comes then is dropped, loudly.
pub(crate) const MAX_WAITING: u64 = 1_000;
/// Troubles that are told one by one at a time; of the others it is told how many there are.
pub(crate) const TOLD_AT_ONCE: usize = 20;
/// Between two looks at what is wrong in memory, and at what the store is asked for.
pub(crate) const LOOK_QUICKLY: Duration = Duration::from_secs(2);
pub(crate) const LOOK_SLOWLY: Duration = Duration::from_secs(30);
/// Receivers that are told at once, and of one account.
pub(crate) const DELIVERIES_AT_ONCE: usize = 16;
pub(crate) const DELIVERIES_OF_ACCOUNT: usize = 2;
/// How long nobody else takes up a delivery: longer than one try can take.
pub(crate) const DELIVERY_HOLD: Duration = Duration::from_secs(180);
/// Between two tests of one receiver: a test must not flood somebody's mailbox.
pub(crate) const TEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a test may take: somebody waits for it.
pub(crate) const TEST_TIME: Duration = Duration::from_secs(20);
/// The longest name of a credential, in characters.
pub const MAX_CREDENTIAL_NAME: usize = 64;
/// The name of the credential that an account's tests from the console come with.
pub(crate) const TEST_NAME: &str = "test from the console";
/// How long its password before works on: longer than one test takes.
pub(crate) const TEST_OVERLAP: Duration = Duration::from_secs(60);
/// The most networks that one credential may be used from.
pub const MAX_CLIENTS: usize = 200;
/// The most tiers.
pub const MAX_TIERS: usize = 1_000;
/// The longest overlap of a rotation: an old password that lives longer was not rotated.
pub const MAX_OVERLAP: Duration = Duration::from_secs(366 * 24 * 3600);
/// The most routes of a gateway.
pub const MAX_ROUTES: usize = 100_000;
/// The most origins of one pool.
pub const MAX_ORIGINS: usize = 64;
/// The longest time between two checks of an origin, in seconds.
pub(crate) const MAX_CHECK_EVERY: u32 = 3_600;
/// The most bytes of a route's settings as they are given.
pub(crate) const MAX_SETTINGS_BYTES: usize = 1024 * 1024;
/// And as they are stored: values that are sealed are longer.
pub(crate) const MAX_STORED_SETTINGS: usize = MAX_SETTINGS_BYTES * 3 / 2;
/// The most bytes of a certificate's chain, or of its key, as they are given.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 128 * 1024;
/// How many flows are kept unless `[log] keep` says otherwise; the oldest make room.
pub const FLOWS_KEPT: u64 = 100_000;
/// Flows that wait to be shown to other gateways.
pub(crate) const FLOWS_WAITING: usize = 16_384;
/// Between a flow and its showing to other gateways, so that many are written at once.
pub(crate) const SHARE_DELAY: Duration = Duration::from_millis(250);
/// The most flows that one call reads.
pub const MAX_FLOWS_READ: usize = 1_000;
/// The latest flows of an account that an auditor's document counts.
pub(crate) const MAX_FLOWS_COUNTED: usize = 10_000;
/// The most entries of the audit log that one call reads.
pub const MAX_AUDIT_READ: u32 = 1_000;
/// Entries of the audit log that are verified at once.
pub(crate) const AUDIT_BATCH: u32 = 1_000;

/// Between two times that usage is written: what a kill -9 loses at most, twice over.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// Between two times that old usage is forgotten.
pub(crate) const FORGET: Duration = Duration::from_secs(3600);
/// Counts that are kept in memory while the store is down, before hosts are no longer told apart.
pub(crate) const MAX_COUNTED: usize = 200_000;
/// How long usage is kept, where nothing else is said.
pub const KEEP_USAGE: Duration = Duration::from_secs(400 * 24 * 3600);
/// A credential that was used before, but not for so long, has stopped.
pub(crate) const STOPPED: Duration = Duration::from_secs(24 * 3600);

/// How long one write or one reading of the store may take, waiting for its turn included.
pub(crate) const STORE_TIME: Duration = Duration::from_secs(10);
/// How long a backup, or its restoration, may take.
pub(crate) const RESTORE_TIME: Duration = Duration::from_secs(600);
/// How long the application of a text may take.
pub(crate) const APPLY_TIME: Duration = Duration::from_secs(120);
/// The most bytes of a text that is applied.
pub const MAX_TEXT: usize = 64 << 20;
/// How long the end of a transaction that came to nothing may take.
pub(crate) const ROLLBACK_TIME: Duration = Duration::from_secs(1);
/// How long a start with a sealed copy waits for the store before it serves that.
pub(crate) const COLD_START_TIME: Duration = Duration::from_millis(1_500);
/// Between two looks at what other gateways have written.
pub(crate) const POLL: Duration = Duration::from_millis(500);
/// Between two looks at how many source ports are left.
pub(crate) const LOOK_AT_PORTS: Duration = Duration::from_secs(10);
/// How long a start waits to know what is spent of quotas, and as long again to know the other gateways.
pub(crate) const FIRST_SETTLE: Duration = Duration::from_secs(1);
/// Between a change and its being served here, and the sign of life that says so.
pub(crate) const BEAT_DELAY: Duration = Duration::from_millis(250);
/// Between two signs of life in the list of gateways.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// Between two looks at which domains are due.
pub(crate) const WATCH: Duration = Duration::from_secs(1);
/// In how long every domain that nobody waits for is looked at once.
pub(crate) const SWEEP: Duration = Duration::from_secs(3_600);
/// The most domains that are looked at at once.
pub(crate) const LOOKS_AT_ONCE: usize = 32;
/// The most checks that are made at once: each asks a dozen servers.
pub(crate) const CHECKS_AT_ONCE: usize = 8;
/// The most orders of certificates that a gateway has open.
pub(crate) const ORDERS_AT_ONCE: usize = 4;
/// How long one order may take, and how long nobody else takes it up.
pub(crate) const ORDER_TIME: Duration = Duration::from_secs(8 * 60);
pub(crate) const HOLD: Duration = Duration::from_secs(10 * 60);
/// How long other gateways may take to show a CA what it looks for.
pub(crate) const SHOWN_TIME: Duration = Duration::from_secs(10);
/// After so long without its DNS a route is released.
pub(crate) const RELEASE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long the system's resolver may take to say where the store's server is.
pub(crate) const LOOKUP_TIME: Duration = Duration::from_secs(1);
/// Changes that are read one by one; more, and everything is read.
pub(crate) const MAX_EDITS: usize = 1_000;
/// How long SQLite waits for another process that holds the file.
pub(crate) const BUSY_TIME: Duration = Duration::from_secs(5);
/// How long an `open` waits for the process before it to let go of the data directory.
pub(crate) const LOCK_TIME: Duration = Duration::from_secs(2);
/// Between a change and its sealed copy, so that a burst of changes is sealed once.
pub(crate) const SEAL_DELAY: Duration = Duration::from_millis(250);
/// Bytes of changes beside a sealed copy before all of it is sealed anew; more where the copy itself is large.
pub(crate) const SEALED_CHANGES: usize = 1 << 20;
/// Between two tries of something that failed.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// The longest sleep of the background work; the wall clock may have been set meanwhile.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Flows that a slow follower may lag behind before it misses some.
pub(crate) const FOLLOW_BUFFER: usize = 4_096;
/// The longest bearer token that is looked at, in bytes; ours have 44.
pub(crate) const MAX_BEARER: usize = 128;
/// The most passkeys of one person.
pub(crate) const MAX_PASSKEYS: usize = 20;
/// How many codes for when an authenticator app is lost.
pub(crate) const RECOVERY_CODES: usize = 10;
