//! The text, read with where each thing stands, and written.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, ops::Range};

use moorgate_contract::{
    policy::{Effect, Matcher, Policy, Rule},
    quota::Quotas,
    route::{Domain, HeaderEdits, HeaderField, Mode, RouteSettings},
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IntoDeserializer},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Wrong;
use crate::{
    book::{AccountRow, Book},
    compile,
    names::{check_account_name, check_tier_name},
    route_views::{HeaderChange, NewBasicUser, NewHeaderField, RouteChange},
};

/// A text that was read.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) tiers: BTreeMap<String, (At, Quotas)>,
    pub(crate) accounts: BTreeMap<String, (At, WantedAccount)>,
    /// By domain.
    pub(crate) routes: BTreeMap<String, (At, WantedRoute)>,
}

/// Where something stands: its line, and those of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) line: usize,
    fields: BTreeMap<Box<str>, usize>,
}

impl At {
    /// The line of a field; that of the whole, where it is not written.
    pub(crate) fn field(&self, name: &str) -> usize {
        self.fields.get(name).copied().unwrap_or(self.line)
    }
}

/// An account as it is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WantedAccount {
    /// `None`: no quotas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tier: Option<String>,
    /// Empty: the gateway's first two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) egress: Vec<IpAddr>,
    /// `allow HOST[:PORT]` and `deny HOST[:PORT]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) policy: Vec<WrittenRule>,
}

/// A rule as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenRule(pub(crate) Rule);

impl Serialize for WrittenRule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WrittenRule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let wrong = || {
            serde::de::Error::custom(format_args!("{text:?} is no rule: write \"allow HOST:PORT\" or \"deny HOST\""))
        };
        let (effect, matcher) = text.split_once(' ').ok_or_else(wrong)?;
        let effect = match effect {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            _ => return Err(wrong()),
        };
        let matcher: Matcher = matcher.trim().parse().map_err(serde::de::Error::custom)?;
        Ok(Self(Rule { effect, matcher }))
    }
}

impl WantedAccount {
    pub(crate) fn policy(&self) -> Policy {
        Policy::new(self.policy.iter().map(|rule| rule.0.clone()).collect())
    }
}

/// A route as it is to be.
#[derive(Debug)]
pub(crate) struct WantedRoute {
    /// `None`: the only account.
    pub(crate) account: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) settings: RouteChange,
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing that is wrong, from the top.
    pub(crate) fn read(text: &str) -> Result<Self, Wrong> {
        let reader = Reader::new(text);
        let root =
            DeTable::parse(text).map_err(|error| reader.wrong(error.span().unwrap_or_default(), error.message()))?;
        let (mut document, mut wrong) = (Self::default(), Vec::new());
        for (section, value) in root.into_inner() {
            reader.section(&mut document, section, value, &mut wrong);
        }
        // The parser sorts by name; people read from the top.
        Wrong::foremost(wrong).map_or(Ok(document), Err)
    }
}

struct Reader {
    /// Where each line ends.
    ends: Vec<usize>,
}

type Name<'a> = Spanned<Cow<'a, str>>;

impl Reader {
    fn new(text: &str) -> Self {
        Self { ends: text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect() }
    }

    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    fn wrong(&self, span: Range<usize>, said: impl ToString) -> Wrong {
        Wrong { line: self.line(span.start), said: said.to_string() }
    }

    fn section<'a>(
        &self,
        document: &mut Document,
        section: Name<'a>,
        value: Spanned<DeValue<'a>>,
        wrong: &mut Vec<Wrong>,
    ) {
        let (name, at) = (section.get_ref().to_string(), section.span());
        if !matches!(&name[..], "tiers" | "accounts" | "routes") {
            let said = format!("there is no section {name:?}; there are tiers, accounts and routes");
            return wrong.push(self.wrong(at, said));
        }
        let DeValue::Table(table) = value.into_inner() else {
            let said = format!("{name} is a section: write [{name}.NAME] on a line of its own and its keys below");
            return wrong.push(self.wrong(at, said));
        };
        for (key, value) in table {
            let read = match &name[..] {
                "tiers" => self.tier(document, &key, value),
                "accounts" => self.account(document, &key, value),
                _ => self.route(document, &key, value),
            };
            wrong.extend(read.err());
        }
    }

    fn tier<'a>(&self, document: &mut Document, key: &Name<'a>, value: Spanned<DeValue<'a>>) -> Result<(), Wrong> {
        let (name, at) = (key.get_ref().to_string(), self.at(key, &value));
        check_tier_name(&name).map_err(|error| self.wrong(key.span(), error))?;
        document.tiers.insert(name, (at, self.typed(key, value)?));
        Ok(())
    }

    fn account<'a>(&self, document: &mut Document, key: &Name<'a>, value: Spanned<DeValue<'a>>) -> Result<(), Wrong> {
        let (name, at) = (key.get_ref().to_string(), self.at(key, &value));
        check_account_name(&name).map_err(|error| self.wrong(key.span(), error))?;
        document.accounts.insert(name, (at, self.typed(key, value)?));
        Ok(())
    }

    fn route<'a>(&self, document: &mut Document, key: &Name<'a>, value: Spanned<DeValue<'a>>) -> Result<(), Wrong> {
        let domain: Domain = key.get_ref().parse().map_err(|error| self.wrong(key.span(), error))?;
        let (span, at) = (value.span(), self.at(key, &value));
        let DeValue::Table(mut table) = value.into_inner() else {
            return Err(self.wrong(key.span(), "a route is a section: write [routes.\"DOMAIN\"] and its keys below"));
        };
        let account = table.remove("account").map(|value| self.typed(key, value)).transpose()?;
        let mode = table.remove("mode").map(|value| self.typed(key, value)).transpose()?;
        let mode = mode.ok_or_else(|| self.wrong(key.span(), "a route needs its mode: terminate or passthrough"))?;
        let settings: RouteChange = self.typed(key, Spanned::new(span, DeValue::Table(table)))?;
        if document.routes.insert(domain.to_string(), (at, WantedRoute { account, mode, settings })).is_some() {
            return Err(self.wrong(key.span(), format!("{domain} is written twice; keep one of them")));
        }
        Ok(())
    }

    /// Where `value` stands under `key`, and where its fields do.
    fn at(&self, key: &Name<'_>, value: &Spanned<DeValue<'_>>) -> At {
        let line = |at: Range<usize>| self.line(at.start);
        let fields = match value.get_ref() {
            DeValue::Table(table) => {
                table.iter().map(|(name, value)| (name.get_ref().as_ref().into(), line(value.span()))).collect()
            }
            _ => BTreeMap::new(),
        };
        At { line: line(key.span()), fields }
    }

    fn typed<T: DeserializeOwned>(&self, key: &Name<'_>, value: Spanned<DeValue<'_>>) -> Result<T, Wrong> {
        let (whole, is_table) = (value.span(), matches!(value.get_ref(), DeValue::Table(_)));
        T::deserialize(value.into_deserializer()).map_err(|error| {
            // An error of a whole table is better said at its name.
            let span = error.span().unwrap_or_else(|| whole.clone());
            let span = if is_table && span == whole { key.span() } else { span };
            self.wrong(span, error.message())
        })
    }
}

/// What is written of a deployment.
#[derive(Serialize)]
struct Written {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tiers: BTreeMap<String, Quotas>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    accounts: BTreeMap<String, WantedAccount>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    routes: BTreeMap<String, WrittenRoute>,
}

#[derive(Serialize)]
struct WrittenRoute {
    account: String,
    mode: String,
    #[serde(flatten)]
    settings: serde_json::Map<String, serde_json::Value>,
}

/// Everything that is stored, as a text that applied changes nothing. What can't be read is left out, with a line that
/// says so.
pub(crate) fn write(book: &Book) -> String {
    let mut text = String::from(
        "# Written by moorgate export. Passwords and the values of request headers are not in it: applied, they stay where\n\
         # there are some. Elsewhere write them: password = \"…\" beside the username, value = \"…\" beside the name.\n\n",
    );
    let tiers = book.tiers().filter_map(|row| Some((row.name.clone(), serde_json::from_str(&row.quotas).ok()?)));
    let accounts = book.accounts().filter_map(|row| Some((row.name.clone(), wanted(row)?)));
    let routes = book.routes().filter_map(|row| {
        compile::mode(&row.mode)?;
        let settings = written(&compile::settings(row).ok()?);
        let account = book.account_by_id(row.account)?.name.clone();
        Some((row.domain.clone(), WrittenRoute { account, mode: row.mode.clone(), settings }))
    });
    let written = Written { tiers: tiers.collect(), accounts: accounts.collect(), routes: routes.collect() };
    let whole = (book.accounts().len(), book.routes().len()) == (written.accounts.len(), written.routes.len());
    if !whole {
        text.push_str("# Some of what is stored can't be read and is left out; the gateway's log says what.\n\n");
    }
    // Tables of texts, numbers and lists: nothing in them can fail to be TOML.
    text.push_str(&toml::to_string(&written).unwrap_or_default());
    text
}

/// An account as a text says it; `None`: it can't be read.
pub(crate) fn wanted(row: &AccountRow) -> Option<WantedAccount> {
    let policy = compile::policy(row).ok()?.rules().iter().cloned().map(WrittenRule).collect();
    Some(WantedAccount { tier: row.tier.clone(), egress: compile::own_egress(row).ok()?, policy })
}

/// The settings of a route as a text says them: what is as for a new route is left out.
fn written(settings: &RouteSettings) -> serde_json::Map<String, serde_json::Value> {
    let actions = &settings.actions;
    let edits = |edits: &HeaderEdits, is_shown: bool| {
        let field = |field: &HeaderField| NewHeaderField {
            name: field.name.clone(),
            value: is_shown.then(|| field.value.clone()),
        };
        // Left out, they stay as they are: so do values that can't be shown.
        let set = (is_shown || !edits.set.is_empty()).then(|| edits.set.iter().map(field).collect());
        HeaderChange { remove: Some(edits.remove.clone()), set }
    };
    let users = actions.basic_auth.iter().map(|user| NewBasicUser { username: user.username.clone(), password: None });
    let users: Vec<NewBasicUser> = users.collect();
    let change = RouteChange {
        origins: Some(settings.origins.clone()),
        paths: Some(settings.paths.clone()),
        proxy_protocol: settings.proxy_protocol.map(Some),
        origin_ca: settings.origin_ca.clone().map(Some),
        acme_origin: settings.acme_origin.clone().map(Some),
        rsa: settings.rsa.then_some(true),
        origin_host: Some(settings.origin_host),
        check: Some(settings.check.clone()),
        clients: Some(actions.clients.clone()),
        on_http: Some(actions.on_http),
        maintenance: actions.maintenance.clone().map(Some),
        redirects: Some(actions.redirects.clone()),
        basic_auth: (!users.is_empty()).then_some(users),
        max_body: actions.max_body.map(Some),
        request_headers: Some(edits(&actions.request_headers, false)),
        response_headers: Some(edits(&actions.response_headers, true)),
    };
    let fresh = serde_json::to_value(RouteChange::of_new()).unwrap_or_default();
    let Ok(serde_json::Value::Object(mut written)) = serde_json::to_value(change) else { return Default::default() };
    written.retain(|name, value| !value.is_null() && fresh.get(name) != Some(value));
    written
}
