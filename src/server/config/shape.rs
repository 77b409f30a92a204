//! This server's place among others: who the members are, which of them it is.
//!
//! COMPAT: the rules and their words are those of `QuorumPeerConfig.parseDynamicConfig`,
//! `setupMyId`, `setupClientPort`, `setupPeerType` and `checkValidity`, in that order.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tracing::Level;

use super::members::{Members, Role};
use super::problem::{ConfigError, Place};
use super::properties;
use super::settings::{Ensemble, ListenAddress};
use super::values::Values;
use crate::ids::ServerId;

/// The greatest id whose sessions TTL nodes leave room for.
const SERVER_ID_MAX_WITH_EXTENDED_TYPES: i64 = 254;

/// Reads the members and works out this server's place; `client` may come from its own line.
pub(super) fn ensemble(
    values: &mut Values,
    file: Option<&Path>,
    data_dir: &Path,
    client: &mut Option<ListenAddress>,
) -> Result<Ensemble, ConfigError> {
    let rule = |text: String| ConfigError::rule(file, text);
    let dynamic_file = values.path("dynamicConfigFile");
    let members = match &dynamic_file {
        Some(dynamic_file) => dynamic_members(values, file, dynamic_file)?,
        None => static_members(values).map_err(rule)?,
    };
    let distributed = check_shape(values, &members).map_err(rule)?;
    let my_id = match my_id(data_dir) {
        // COMPAT: fatal in Java, though no rule asks for the number of a server that stands alone.
        Err(error) if members.servers.is_empty() => {
            values.warn(format!("{error}; nothing needs it here: ignored"));
            None
        }
        found => found?,
    };
    check_my_id(my_id, values).map_err(rule)?;
    if let Some(my_id) = my_id {
        settle_client_address(my_id, &members, client).map_err(rule)?;
    }
    let observer = settle_role(values, &members, my_id);
    if distributed {
        check_distributed(values, &members, my_id, data_dir).map_err(rule)?;
    }
    let init_limit_ticks = values.whole("initLimit");
    Ok(Ensemble {
        my_id: my_id.unwrap_or_default(),
        members: distributed.then_some(members),
        members_next: file.and_then(|file| next_members(values, file)),
        dynamic_file,
        init_limit_ticks,
        sync_limit_ticks: values.whole("syncLimit"),
        connect_limit_ticks: values
            .limit("connectToLearnerMasterLimit")
            .unwrap_or(init_limit_ticks),
        election_algorithm: values.whole("electionAlg"),
        observer,
        standalone_enabled: values.flag("standaloneEnabled"),
        reconfig_enabled: values.flag("reconfigEnabled"),
        listen_on_all: values.flag("quorumListenOnAllIPs"),
        observer_keeps_log: match values.given("observer.syncEnabled") {
            Some(_) => values.flag("observer.syncEnabled"),
            None => values.flag("syncEnabled"),
        },
        observer_master_port: values.limit("observerMasterPort"),
        leader_serves: values.text("leaderServes") == "yes",
        connect_timeout_ms: values.whole("cnxTimeout"),
        bind_retry_max: values.whole("electionPortBindRetry"),
        oracle_path: values.path("oraclePath"),
        multi_address: values.flag("multiAddress.enabled"),
        tcp_keep_alive: values.flag("tcpKeepAlive"),
        notification_ms_min: values.whole("fastleader.minNotificationInterval"),
        notification_ms_max: values.whole("fastleader.maxNotificationInterval"),
    })
}

/// Keys of membership with their values, whole names.
fn member_pairs(values: &Values) -> Vec<(String, String)> {
    let families = ["server.", "group", "weight"];
    let mut pairs: Vec<(String, String)> = families
        .iter()
        .flat_map(|family| {
            let named = values.family(family);
            named.map(move |(rest, given)| (format!("{family}{rest}"), given.text.clone()))
        })
        .collect();
    pairs.extend(values.text_given("version").map(|text| ("version".to_owned(), text)));
    pairs
}

fn parse_members(values: &Values, pairs: &[(String, String)]) -> Result<Members, String> {
    let multi_address = values.flag("multiAddress.enabled");
    let pairs = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Members::parse(pairs, multi_address)
}

fn static_members(values: &Values) -> Result<Members, String> {
    parse_members(values, &member_pairs(values))
}

fn dynamic_members(
    values: &Values,
    file: Option<&Path>,
    dynamic_file: &Path,
) -> Result<Members, ConfigError> {
    if let Some((key, _)) = member_pairs(values).into_iter().find(|(key, _)| key != "version") {
        let text = format!("parameter: {key} must be in a separate dynamic config file");
        return Err(ConfigError::rule(file, text));
    }
    let rule = |text: String| ConfigError::rule(Some(dynamic_file), text);
    let pairs = read_pairs(dynamic_file)?;
    for (key, _) in &pairs {
        if key == "version" {
            return Err(rule("dynamic file shouldn't have version inside".to_owned()));
        }
        if !is_membership(key) {
            return Err(rule(format!("Unrecognised parameter: {key}")));
        }
    }
    let mut members = parse_members(values, &pairs).map_err(rule)?;
    members.version = version_in_name(dynamic_file);
    Ok(members)
}

fn is_membership(key: &str) -> bool {
    ["server.", "group", "weight"].iter().any(|family| key.starts_with(family))
}

/// The hexadecimal number after the last dot of the name; 0 where there is none.
fn version_in_name(file: &Path) -> i64 {
    let name = file.to_string_lossy();
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    suffix.and_then(|suffix| i64::from_str_radix(suffix, 16).ok()).unwrap_or(0)
}

fn read_pairs(file: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let bytes = fs::read(file)
        .map_err(|source| ConfigError::Unreadable { file: file.to_path_buf(), source })?;
    let entries = properties::parse(&bytes).map_err(|malformed| ConfigError::Malformed {
        place: Place::Line(file.to_path_buf(), malformed.line),
        why: "malformed \\uxxxx encoding",
    })?;
    Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

/// The membership that was proposed when the server last stopped, if any.
fn next_members(values: &mut Values, file: &Path) -> Option<Members> {
    let mut next = file.as_os_str().to_owned();
    next.push(".dynamic.next");
    let next = PathBuf::from(next);
    let members = match read_pairs(&next) {
        Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return None;
        }
        Err(error) => Err(error.to_string()),
        Ok(pairs) => match pairs.iter().find(|(key, _)| key != "version" && !is_membership(key)) {
            Some((key, _)) => Err(format!("Unrecognised parameter: {key}")),
            None => parse_members(values, &pairs),
        },
    };
    members
        .map_err(|why| values.warn(format!("{}: {why}; the file is left alone", next.display())))
        .ok()
}

/// Whether this is a server among others, by the number of members.
fn check_shape(values: &mut Values, members: &Members) -> Result<bool, String> {
    let standalone_enabled = values.flag("standaloneEnabled");
    let (participants, observers) = (members.participants().count(), members.observers().count());
    match (participants, observers) {
        (0, _) if !standalone_enabled => {
            let text = "standaloneEnabled = false then number of participants should be >0";
            return Err(text.to_owned());
        }
        (0, 0) => return Ok(false),
        (0, _) => {
            return Err("Observers w/o participants is an invalid configuration".to_owned());
        }
        (1, 0) if standalone_enabled => {
            let text = "Invalid configuration, only one server specified (ignoring)";
            values.say(Level::ERROR, text.to_owned());
            return Ok(false);
        }
        (1, _) if standalone_enabled => {
            return Err("Observers w/o quorum is an invalid configuration".to_owned());
        }
        (1 | 2, _) => values
            .warn("No server failure will be tolerated. You need at least 3 servers.".to_owned()),
        (count, _) if count % 2 == 0 => {
            values.warn("Non-optimal configuration, consider an odd number of servers.".to_owned());
        }
        _ => {}
    }
    Ok(true)
}

/// The number in `myid`; `None` where there is no such file.
fn my_id(data_dir: &Path) -> Result<Option<ServerId>, ConfigError> {
    let file = data_dir.join("myid");
    let text = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // Not a directory, not a file: as Java, which looks whether it is a file at all.
        Err(_) if !file.is_file() => return Ok(None),
        Err(source) => return Err(ConfigError::Unreadable { file, source }),
    };
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let id = line.parse().map_err(|_| {
        let text = format!(
            "serverid {line} is not a number; myid holds one decimal number, with no blank before \
             or after it"
        );
        ConfigError::rule(Some(&file), text)
    })?;
    Ok(Some(ServerId(id)))
}

fn check_my_id(my_id: Option<ServerId>, values: &Values) -> Result<(), String> {
    match my_id {
        Some(id)
            if values.flag("extendedTypesEnabled") && id.0 > SERVER_ID_MAX_WITH_EXTENDED_TYPES =>
        {
            Err(format!(
                "extendedTypesEnabled is true but Server ID is too large. Cannot be larger than \
                 {SERVER_ID_MAX_WITH_EXTENDED_TYPES}, but myid is {id}"
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// A client address in the member's own line must agree with the static one; either may be absent.
fn settle_client_address(
    my_id: ServerId,
    members: &Members,
    client: &mut Option<ListenAddress>,
) -> Result<(), String> {
    let Some(own) = members.servers.get(&my_id).and_then(|member| member.client.as_ref()) else {
        return Ok(());
    };
    if let Some(given) = client {
        let agree = if given.host.is_none() { given.port == own.port } else { given == own };
        if !agree {
            return Err(format!(
                "client address for this server (id = {my_id}) in static config file is {given} is \
                 different from client address found in dynamic file: {own}"
            ));
        }
    }
    *client = Some(own.clone());
    Ok(())
}

/// Whether this server observes: the members' list decides, `peerType` may only agree.
fn settle_role(values: &mut Values, members: &Members, my_id: Option<ServerId>) -> bool {
    let listed = my_id.and_then(|id| members.servers.get(&id)).map_or(Role::default(), |m| m.role);
    let written = if values.text("peerType").eq_ignore_ascii_case("observer") {
        Role::Observer
    } else {
        Role::Participant
    };
    if listed != written {
        values.warn(format!(
            "Peer type from servers list ({listed}) doesn't match peerType ({written}). \
             Defaulting to servers list."
        ));
    }
    listed == Role::Observer
}

fn check_distributed(
    values: &Values,
    members: &Members,
    my_id: Option<ServerId>,
    data_dir: &Path,
) -> Result<(), String> {
    for name in ["initLimit", "syncLimit"] {
        if values.limit::<u32>(name).is_none() {
            return Err(format!("{name} is not set"));
        }
    }
    let Some(my_id) = my_id else {
        let file = data_dir.join("myid");
        return Err(format!(
            "myid file is missing: {} should hold this server's number",
            file.display()
        ));
    };
    if !members.servers.contains_key(&my_id) {
        return Err(format!("My id {my_id} not in the peer list"));
    }
    Ok(())
}
