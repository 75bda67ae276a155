//! What the last week would have been by another policy.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use moorgate_contract::{
    account::Account,
    admit::admit,
    decide::{Ask, Destination, Plan, Transport, decide},
    egress::Presence,
    failure::Code,
    flow::Flow,
    outcome::Outcome,
    policy::{MAX_RULES, Policy},
    snapshot::Snapshot,
    time::Timestamp,
};
use moorgate_wire::host::Asked;

use super::Control;
use crate::{
    error::{Invalid, Result},
    flows::FlowFilter,
    limits::MAX_FLOWS_READ,
};

/// How far back a policy is tried on what was asked for.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a policy would have made of the last week's flows.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// How many flows were looked at.
    pub flows: usize,
    /// When the oldest of them began.
    pub since: Option<Timestamp>,
    /// What came through and would have been refused, the most frequent first.
    pub refused: Vec<Replayed>,
    /// What was refused by the policy and would have been let through, the most frequent first.
    pub allowed: Vec<Replayed>,
    /// Refused then, and depending on addresses that nobody knows.
    pub unjudged: usize,
    /// Whether the flows of other gateways could not be asked for.
    pub is_partial: bool,
}

/// Flows that would have been decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// What they asked for.
    pub target: Arc<str>,
    /// Why they would be refused, or were.
    pub said: Box<str>,
    /// How many.
    pub flows: usize,
}

impl Control {
    /// Says what a policy would have made of the last week's flows of an account, by the decision that traffic meets.
    ///
    /// # Errors
    /// [`Invalid::TooManyRules`]; [`ControlError::NotFound`](crate::ControlError) for an account that does not exist.
    pub async fn replay(&self, account: &str, policy: &Policy) -> Result<Replay> {
        let count = policy.rules().len();
        if count > MAX_RULES {
            return Err(Invalid::TooManyRules { count }.into());
        }
        self.inner.account_row(account)?;
        let mut tally = Tally { is_partial: !self.knows_all_flows(), ..Tally::default() };
        let snapshot = self.snapshot();
        let Some(served) = snapshot.account(account) else { return Ok(tally.whole()) };
        let judged = Arc::new(Account { policy: policy.clone(), ..Account::clone(served) });
        let oldest = Timestamp::from(SystemTime::now() - WEEK);
        let mut before = None;
        loop {
            let filter = FlowFilter { account: Some(account.to_owned()), limit: MAX_FLOWS_READ };
            // Without its flows (their file is gone) the rest is still answered.
            let page = self.flows_before(filter, before).await.unwrap_or_default();
            let page: Vec<Flow> = page.into_iter().map(|recorded| recorded.flow).collect();
            page.iter().filter(|flow| flow.started >= oldest).for_each(|flow| tally.judge(&snapshot, &judged, flow));
            match page.first() {
                Some(first) if page.len() == MAX_FLOWS_READ && first.started >= oldest => before = Some(first.id),
                _ => return Ok(tally.whole()),
            }
        }
    }
}

/// By target and what is said of it.
type Targets = HashMap<(Arc<str>, Box<str>), usize>;

#[derive(Default)]
struct Tally {
    flows: usize,
    since: Option<Timestamp>,
    refused: Targets,
    allowed: Targets,
    unjudged: usize,
    is_partial: bool,
}

impl Tally {
    fn judge(&mut self, snapshot: &Snapshot, judged: &Arc<Account>, flow: &Flow) {
        self.flows += 1;
        self.since = Some(self.since.map_or(flow.started, |since| since.min(flow.started)));
        let Some(target) = &flow.target else { return };
        let was_denied = flow.outcome == Outcome::Failed(Code::PolicyDenied);
        match verdict(snapshot, judged, flow) {
            Verdict::Refused(said) if !flow.outcome.is_refusal() => {
                *self.refused.entry((target.clone(), said)).or_default() += 1;
            }
            Verdict::Passed if was_denied => {
                let said = flow.said.clone().unwrap_or_default();
                *self.allowed.entry((target.clone(), said)).or_default() += 1;
            }
            Verdict::Open if was_denied => self.unjudged += 1,
            _ => {}
        }
    }
    fn whole(self) -> Replay {
        let Self { flows, since, refused, allowed, unjudged, is_partial } = self;
        Replay { flows, since, refused: targets(refused), allowed: targets(allowed), unjudged, is_partial }
    }
}

/// The most frequent first.
fn targets(judged: Targets) -> Vec<Replayed> {
    let targets = judged.into_iter().map(|((target, said), flows)| Replayed { target, said, flows });
    let mut targets: Vec<Replayed> = targets.collect();
    targets.sort_by(|a, b| b.flows.cmp(&a.flows).then_with(|| (&a.target, &a.said).cmp(&(&b.target, &b.said))));
    targets
}

/// What a policy would say of a flow.
enum Verdict {
    Refused(Box<str>),
    Passed,
    /// By its name it passes, and which address it has nobody knows.
    Open,
}

/// What `account`'s policy would say of a flow, and its credential's own beside it.
fn verdict(snapshot: &Snapshot, account: &Arc<Account>, flow: &Flow) -> Verdict {
    let Some(asked) = flow.target.as_deref().and_then(|target| Asked::from_authority(target, None).ok()) else {
        return Verdict::Passed;
    };
    let credential = flow.username.as_deref().and_then(|username| snapshot.credential(username));
    let credential = credential.filter(|credential| credential.account == account.id);
    let ask = Ask { account, credential, asked: &asked, transport: Transport::Stream };
    let judged = decide(&ask, &mut ()).and_then(|plan| {
        let address = match (&plan.destination, flow.address) {
            (Destination::Address(address), _) => *address,
            (Destination::Name(_), Some(dialled)) => dialled.ip(),
            (Destination::Name(_), None) => return Ok(if has_a_say(&plan) { Verdict::Open } else { Verdict::Passed }),
            (Destination::Echo, _) => return Ok(Verdict::Passed),
        };
        admit(&snapshot.site.guard, &Presence::default(), &plan, &[address], &mut ()).map(|_| Verdict::Passed)
    });
    match judged {
        Err(failure) if failure.code == Code::PolicyDenied => Verdict::Refused(failure.said),
        // What else refuses it would refuse it as before.
        Err(_) => Verdict::Passed,
        Ok(verdict) => verdict,
    }
}

/// Whether a rule about addresses could still refuse it.
fn has_a_say(plan: &Plan) -> bool {
    let own = plan.narrower.as_ref().and_then(|narrower| narrower.credential.policy.as_deref());
    let policies = [Some(&plan.account.policy), own];
    policies.into_iter().flatten().any(|policy| policy.rules().iter().any(|rule| rule.matcher.is_of_addresses()))
}
