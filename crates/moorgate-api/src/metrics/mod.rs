//! Metrics in the OpenMetrics text format. Every name begins with `moorgate_`.
//!
//! Flows are counted as they end; what is true *now* is asked of the gateway when somebody looks.

use std::{fmt, net::IpAddr};

use moorgate_contract::{flow::Flow, listener::Listener, outcome::Outcome};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::Registry,
};

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the duration histogram, in seconds: from a refusal to a tunnel that is open for a day.
const DURATIONS: [f64; 12] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0, 86_400.0];

/// A question that is asked at each scrape. Must be quick and must not block.
pub type Source<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Where the values come from that are true now. The binary gives them.
pub struct MetricSources {
    /// Connections that are open, for each listener.
    pub open_connections: Source<Vec<(Listener, u64)>>,
    /// Tunnels that are open.
    pub open_tunnels: Source<u64>,
    /// Flows that were dropped because nobody could keep them.
    pub flows_dropped: Source<u64>,
    /// The version of the snapshot that is served.
    pub snapshot_version: Source<u64>,
    /// Each egress address, and whether the kernel lets us bind it.
    pub egress: Source<Vec<(IpAddr, bool)>>,
    /// Each egress address from which something is open, and its source ports that are left toward the destination that
    /// takes most of them.
    pub ports_free: Source<Vec<(IpAddr, u64)>>,
    /// How many certificates there are, by what they are.
    pub certificates: Source<Vec<(&'static str, u64)>>,
    /// When the next one ends, in seconds since the epoch.
    pub certificate_end: Source<Option<u64>>,
    /// Tasks that panicked.
    pub panics: Source<u64>,
    /// The version of the binary.
    pub version: &'static str,
}

impl fmt::Debug for MetricSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricSources").field("version", &self.version).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowLabels {
    listener: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteLabels {
    listener: &'static str,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

/// The metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    flows: Family<FlowLabels, Counter>,
    listeners: Vec<ListenerMetrics>,
}

/// What each flow of a listener counts in, found once.
struct ListenerMetrics {
    ok: Counter,
    up: Counter,
    down: Counter,
    durations: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics that nothing was counted in yet.
    pub fn new(sources: MetricSources) -> Self {
        let mut registry = Registry::with_prefix("moorgate");
        let flows = Family::<FlowLabels, Counter>::default();
        let bytes = Family::<ByteLabels, Counter>::default();
        let durations =
            Family::<ListenerLabels, Histogram, _>::new_with_constructor((|| Histogram::new(DURATIONS)) as fn() -> _);
        let listeners = Listener::ALL.iter().map(|listener| {
            let listener = listener.name();
            let bytes = |direction| bytes.get_or_create_owned(&ByteLabels { listener, direction });
            let durations = durations.get_or_create_owned(&ListenerLabels { listener });
            let ok = flows.get_or_create_owned(&FlowLabels { listener, outcome: Outcome::Ok.code() });
            ListenerMetrics { ok, up: bytes("up"), down: bytes("down"), durations }
        });
        let listeners = listeners.collect();
        registry.register("flows", "Flows that ended, by listener and outcome code", flows.clone());
        registry.register("bytes", "Bytes of flows that ended: up is to the target, down is from it", bytes.clone());
        registry.register("flow_duration_seconds", "How long flows were open", durations.clone());
        registry.register_collector(Box::new(Now(sources)));
        Self { registry, flows, listeners }
    }

    /// Counts a flow that ended.
    pub fn observe(&self, flow: &Flow) {
        let Some(listener) = self.listeners.get(flow.listener as usize) else { return };
        if flow.outcome == Outcome::Ok {
            listener.ok.inc();
        } else {
            let labels = FlowLabels { listener: flow.listener.name(), outcome: flow.outcome.code() };
            self.flows.get_or_create(&labels).inc();
        }
        listener.up.inc_by(flow.bytes_up);
        listener.down.inc_by(flow.bytes_down);
        listener.durations.observe(std::time::Duration::from_micros(flow.duration_us).as_secs_f64());
    }

    /// Everything, in the OpenMetrics text format.
    ///
    /// # Errors
    /// A value could not be written; does not happen with values of ours.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut written = String::new();
        text::encode(&mut written, &self.registry)?;
        Ok(written)
    }
}

/// Asks the sources at each scrape.
#[derive(Debug)]
struct Now(MetricSources);

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Self(sources) = self;
        one(&mut encoder, "open_tunnels", "Tunnels that are open", ConstGauge::new((sources.open_tunnels)()))?;
        let version = ConstGauge::new((sources.snapshot_version)());
        one(&mut encoder, "snapshot_version", "Version of the snapshot that is served", version)?;
        let dropped = ConstCounter::new((sources.flows_dropped)());
        one(&mut encoder, "flows_dropped", "Flows that could not be kept", dropped)?;
        let panics = ConstCounter::new((sources.panics)());
        one(&mut encoder, "panics", "Tasks that died of a defect", panics)?;

        let open = (sources.open_connections)()
            .into_iter()
            .map(|(listener, count)| ([("listener", listener.name().into())], count));
        gauges(&mut encoder, "open_connections", "Connections that are open, by listener", open)?;
        let egress =
            (sources.egress)().into_iter().map(|(address, up)| ([("address", address.to_string())], u64::from(up)));
        gauges(&mut encoder, "egress_address_up", "1 when the kernel lets us leave from the address", egress)?;
        let ports =
            (sources.ports_free)().into_iter().map(|(address, free)| ([("address", address.to_string())], free));
        let help = "Source ports that are left toward the destination that takes most of them";
        gauges(&mut encoder, "egress_ports_free", help, ports)?;
        let counts = (sources.certificates)().into_iter().map(|(state, count)| ([("state", state.to_owned())], count));
        gauges(
            &mut encoder,
            "certificates",
            "Certificates: added, issued, ordered; failing: the last order failed",
            counts,
        )?;
        if let Some(end) = (sources.certificate_end)() {
            let help = "When the next certificate ends, in seconds since the epoch";
            one(&mut encoder, "certificate_end_timestamp_seconds", help, ConstGauge::new(end))?;
        }
        let build = [([("version", sources.version.to_owned())], 1)];
        gauges(&mut encoder, "build_info", "The version of this gateway", build)
    }
}

fn one(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, metric: impl EncodeMetric) -> fmt::Result {
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

/// One gauge with a value for each set of labels.
fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = ([(&'static str, String); 1], u64)>,
) -> fmt::Result {
    let metric_type = ConstGauge::new(0_u64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
