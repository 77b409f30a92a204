//! `mntr`: every metric, one a line.

use super::super::report::{Facts, Report};
use super::put;
use crate::metrics::{Readings, Value};
use crate::tree::QuotaSum;
use crate::version;

pub(super) fn write(out: &mut String, report: &Report) {
    let facts = &report.facts;
    line(out, "version", version::FULL);
    line(out, "server_state", facts.mode.name());
    if let Some(state) = &facts.peer_state {
        line(out, "peer_state", state);
    }
    if let Some(master) = facts.observer_master {
        line(out, "observer_master_id", master);
    }
    gauges(facts, &report.readings, &mut |name, value| line(out, name, value));
    for (namespace, sums) in &report.quotas {
        for (kind, sum) in [("limit", sums.allowed), ("usage", sums.used)] {
            let Some(QuotaSum { count, bytes }) = sum else { continue };
            for (what, value) in [("count", count), ("bytes", bytes)] {
                let name = format!("{namespace}_quota_{what}_{kind}_per_namespace");
                line(out, &name, value);
            }
        }
    }
    report.readings.for_each(|name, value| line(out, name, value));
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    put(out, format_args!("zk_{name}\t{value}\n"));
}

/// Every gauge, without the prefix: what is true now rather than counted.
fn gauges(facts: &Facts, readings: &Readings, sink: &mut impl FnMut(&str, Value)) {
    let count_or_unknown = |count: Option<u64>| count.map_or(Value::Whole(-1), Value::from);
    let responses = &readings.responses;
    // COMPAT: `BufferStats` starts at -1.
    let response = |bytes: u64| if responses.count == 0 { Value::Whole(-1) } else { bytes.into() };
    let values = [
        ("approximate_data_size", facts.data_bytes.into()),
        ("auth_failed_count", facts.auth_failed.into()),
        ("avg_latency", Value::Real(readings.latency.average())),
        ("connection_drop_probability", Value::Real(facts.drop_chance)),
        ("ephemerals_count", facts.ephemeral_count.into()),
        ("global_sessions", facts.session_count.into()),
        ("last_client_response_size", response(readings.response_last)),
        ("local_sessions", facts.local_session_count.into()),
        ("max_client_response_size", response(responses.max)),
        ("max_file_descriptor_count", count_or_unknown(facts.open_files_max)),
        ("max_latency", readings.latency.max.into()),
        ("min_client_response_size", response(responses.min())),
        ("min_latency", readings.latency.min().into()),
        ("non_mtls_local_conn_count", Value::Whole(0)),
        ("non_mtls_remote_conn_count", Value::Whole(0)),
        ("num_alive_connections", facts.connection_count.into()),
        ("open_file_descriptor_count", count_or_unknown(facts.open_files)),
        ("outstanding_requests", facts.outstanding.into()),
        ("outstanding_tls_handshake", Value::Whole(0)),
        ("packets_received", readings.packets_received.into()),
        ("packets_sent", readings.packets_sent.into()),
        ("uptime", facts.uptime_ms.into()),
        ("watch_count", facts.watch_count.into()),
        ("znode_count", facts.node_count.into()),
    ];
    for (name, value) in values {
        sink(name, value);
    }
    quorum_gauges(facts, sink);
}

fn quorum_gauges(facts: &Facts, sink: &mut impl FnMut(&str, Value)) {
    if let Some(size) = facts.quorum_size {
        sink("quorum_size", size.into());
    }
    if let Some(observers) = facts.follower_observers {
        sink("synced_observers", observers.into());
    }
    let Some(leader) = &facts.leader else { return };
    let (last, min, max) = leader.proposal_bytes;
    let values = [
        ("learners", leader.learners.into()),
        ("synced_followers", leader.synced_followers.into()),
        ("synced_non_voting_followers", leader.synced_non_voting_followers.into()),
        ("synced_observers", leader.synced_observers.into()),
        ("pending_syncs", leader.pending_syncs.into()),
        ("leader_uptime", leader.uptime_ms.into()),
        ("last_proposal_size", Value::Whole(last)),
        ("max_proposal_size", Value::Whole(max)),
        ("min_proposal_size", Value::Whole(min)),
    ];
    for (name, value) in values {
        sink(name, value);
    }
}
