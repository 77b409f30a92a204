//! Whole runs against a server that does nothing, or too little.

use std::net::TcpListener;

use clap::Parser as _;

use super::*;
use crate::null::Null;

/// Serves until the tests end; its address.
fn serve(null: &Arc<Null>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let null = null.clone();
    thread::spawn(move || null.serve(&listener));
    address
}

fn plan(address: &str, args: &str) -> Plan {
    let defaults = [
        ("--znodes", "--znodes 50"),
        ("--warmup", "--warmup 20ms"),
        // Longer than a busy machine stands still.
        ("--timeout", "--timeout 30s"),
    ];
    let missing = defaults.iter().filter(|(name, _)| !args.contains(name)).map(|(_, text)| *text);
    let all: Vec<_> =
        ["run", "--quiet", "--servers", address, args].into_iter().chain(missing).collect();
    let args = RunArgs::parse_from(all.join(" ").split_whitespace());
    Plan::new(&args.load, &args.servers).unwrap()
}

fn run(address: &str, args: &str) -> Result<Report, Failure> {
    measure(&plan(address, args), &[std::process::id()], &Interrupt::default())
}

#[test]
fn every_workload_runs_to_its_end() {
    let address = serve(&Null::new(100, None));
    let cases = [
        ("-w get --ops 300", &["get"][..]),
        ("-w set --ops 300 --sessions 3 --in-flight 1 --threads 2", &["set"]),
        ("-w create --ops 300", &["create"]),
        ("-w mixed --ops 300 --read-percent 50", &["get", "set"]),
        ("-w open --sessions 20 --in-flight 4", &["close", "open"]),
        ("-w get --duration 1s --rate 2000 --arrivals poisson", &["get"]),
    ];
    for (args, kinds) in cases {
        let report = run(&address, args).unwrap();
        assert_eq!(report.kinds.keys().copied().collect::<Vec<_>>(), kinds, "{args}");
        assert!(report.kinds.values().all(|kind| kind.ok > 0), "{args}");
        assert_eq!((report.errors, report.connections.protocol_faults), (0, 0), "{args}");
        assert!(!text::render(&report).is_empty());
        serde_json::to_string(&report).unwrap();
    }
}

#[test]
fn numbers_asked_for_are_kept() {
    let address = serve(&Null::new(100, None));
    let report = run(&address, "-w load --znodes 1234 --sessions 3 --threads 2").unwrap();
    assert_eq!((report.ok, report.kinds["create"].ok), (1234, 1234));
    assert_eq!(run(&address, "-w open --sessions 33 --threads 2").unwrap().ok, 33);
    assert_eq!(run(&address, "-w get --ops 777").unwrap().ok, 777);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let address = serve(&Null::new(100, None));
    let report = run(&address, "-w get --rate 1000 --duration 1s").unwrap();
    let asked = report.ok + report.errors + report.client.unsent;
    assert!(asked.abs_diff(1000) <= 1, "{asked} requests were due in 1 s at 1000/s");
    assert!(report.kinds["get"].service_us.is_some() && report.client.lag_us.is_some());
}

#[test]
fn broken_connections_are_counted_and_replaced() {
    let null = Null::new(100, Some(1000));
    let report = run(&serve(&null), "-w get --sessions 2 --ops 5000").unwrap();
    assert_eq!(report.ok + report.errors, 5000, "each is answered or lost");
    assert!(report.ok > 2000, "it went on after each cut");
    let get = &report.kinds["get"];
    assert!(report.connections.lost > 0);
    assert!(get.errors["ConnectionLoss"] > 0);
    // The server knows no session again, so each connection lost is a session expired.
    assert!(report.connections.sessions_expired > 0);
    assert!(report.connections.sessions_expired <= null.expired.load(Ordering::Relaxed));
}

#[test]
fn a_server_that_falls_silent_does_not_hang_the_run() {
    let args = "--warmup 0s --sessions 1 -m 4 --duration 1s --timeout 2s";
    let report = run(&serve(&Null::silent_after(60)), args).unwrap();
    assert!(report.errors >= 4, "what was in flight is lost: {:?}", report.kinds);
    assert!(report.kinds["get"].errors.contains_key("OperationTimeout"));
}

#[test]
fn nobody_there_is_said_at_once() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let failure = run(&address, "").unwrap_err().to_string();
    assert!(failure.contains("refused") && failure.contains(&address), "{failure}");
}

#[test]
fn an_interrupt_ends_a_run_early_and_still_reports() {
    let address = serve(&Null::new(100, None));
    let plan = Plan { duration: Duration::from_hours(1), ..plan(&address, "--warmup 0s") };
    let interrupt = Interrupt::default();
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| measure(&plan, &[], &interrupt));
        let (_never, nothing) = channel::<()>();
        let _ = nothing.recv_timeout(Duration::from_millis(500));
        interrupt.store(true, Ordering::Relaxed);
        run.join().unwrap()
    });
    match report {
        Ok(report) => assert!(report.interrupted && report.seconds < 60.0),
        // A machine so busy that it had not begun.
        Err(failure) => assert!(failure.to_string().contains("interrupted")),
    }
}
