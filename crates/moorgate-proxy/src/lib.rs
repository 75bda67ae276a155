//! Listeners, heads and tails: outbound, inbound, exchange, recorder.
