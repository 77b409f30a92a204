//! Throttles, all off by default: what is turned away, slowed, refused, and that nothing is lost.

use ringkeeper::wire::OpCode;
use ringkeeper::wire::request::Request;

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::{append, create, read};
use crate::support::{Client, Server};

const THROTTLED: i32 = -127;
const NO_NODE: i32 = -101;

pub const CASES: &[Case<Context>] = &[
    ("connection_throttle_tokens", connection_tokens),
    ("request_throttle_max_requests slows, and loses nothing", crowd_slows),
    ("throttled_op_wait_time refuses, and does nothing", crowd_refuses),
    ("largeRequestMaxBytes", large_requests),
];

fn server(context: &mut Context, properties: &[(&str, &str)]) -> Server {
    context.another(|spec| {
        let add = |spec: crate::support::ServerSpec, (name, value): &(&str, &str)| {
            spec.property(&format!("zookeeper.{name}"), value)
        };
        properties.iter().fold(spec, add)
    })
}

/// One number of `mntr`.
pub fn metric(server: &Server, name: &str) -> u64 {
    let text = server.word("mntr").expect("mntr");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("zk_{name}\t")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

fn connection_tokens(context: &mut Context) {
    let slow = ("connection_throttle_fill_time", "100000000");
    let server = server(context, &[("connection_throttle_tokens", "3"), slow]);
    let mut clients: Vec<_> =
        (0..3).map(|_| Client::connect(server.address).expect("a token")).collect();
    assert!(Client::connect(server.address).is_err(), "no token is left");
    assert!(clients[0].reattach(server.address).is_err(), "nor for a session that is known");
    assert!(metric(&server, "connection_rejected") >= 2);
    clients[1].must(&Request::Ping);
}

fn send_creates(client: &mut Client, count: i32) {
    let mut out = Vec::new();
    for xid in 1..=count {
        append(&mut out, xid, &create(&format!("/n{xid}"), b"x", 0));
    }
    client.connection.send(&out).unwrap();
}

fn crowd_slows(context: &mut Context) {
    let server = server(context, &[("request_throttle_max_requests", "2")]);
    let mut client = Client::connect(server.address).unwrap();
    send_creates(&mut client, 1000);
    for xid in 1..=1000 {
        let reply = client.reply().unwrap().expect("a reply");
        assert_eq!((reply.header.xid.0, reply.header.err), (xid, 0));
    }
    assert!(metric(&server, "request_throttle_wait_count") > 0);
    assert_eq!(metric(&server, "throttled_ops"), 0);
}

fn crowd_refuses(context: &mut Context) {
    let properties = [("request_throttle_max_requests", "1"), ("throttled_op_wait_time", "1")];
    let server = server(context, &properties);
    let mut client = Client::connect(server.address).unwrap();
    send_creates(&mut client, 3000);
    let mut refused = Vec::new();
    for xid in 1..=3000 {
        let header = client.reply().unwrap().expect("a reply").header;
        assert_eq!(header.xid.0, xid, "in their order");
        assert!(matches!(header.err, 0 | THROTTLED), "{header:?}");
        if header.err == THROTTLED {
            refused.push(xid);
        }
    }
    assert!(!refused.is_empty(), "3000 requests in a crowd of one");
    assert_eq!(metric(&server, "throttled_ops"), refused.len() as u64);
    client.xid = 3000;
    for xid in [refused[0], refused[refused.len() - 1]] {
        let reply = client.call(&read(OpCode::Exists, &format!("/n{xid}"), false)).unwrap();
        assert_eq!(reply.header.err, NO_NODE, "/n{xid} was refused");
    }
    client.must(&Request::CloseSession);
}

fn large_requests(context: &mut Context) {
    let properties = [("largeRequestThreshold", "1000"), ("largeRequestMaxBytes", "50000")];
    let server = server(context, &properties);
    let mut client = Client::connect(server.address).unwrap();
    for at in 0..20 {
        client.create(&format!("/fits{at}"), &vec![0; 40_000], 0);
    }
    client.create("/small", &[0; 900], 0);
    let reply = client.call(&create("/large", &vec![0; 60_000], 0));
    assert!(reply.is_err(), "{reply:?}");
    assert_eq!(metric(&server, "large_requests_rejected"), 1);
    let mut client = client.reattach(server.address).expect("the session lives");
    assert_eq!(client.call(&read(OpCode::Exists, "/large", false)).unwrap().header.err, NO_NODE);
}
