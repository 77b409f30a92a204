//! Bad input and bad manners: each gets an error reply, or that connection alone is closed, and the
//! server serves on. `cargo test --test hostile [CASE…]`.
//! `HOSTILE_SERVER=java39` asks Java instead.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod counts;
mod crowds;
mod farewells;
mod frames;
mod lists;
mod records;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod throttles;

use std::process::ExitCode;

use crate::support::process::scratch;
use crate::support::{Client, Server, ServerSpec};

/// What the cases share: one server with the defaults, and a place for others.
pub struct Context {
    pub dir: tempfile::TempDir,
    pub name: String,
    pub server: Server,
    count: u32,
}

impl Context {
    /// Whether it is Ringkeeper that is asked, of which more is demanded.
    pub fn is_ours(&self) -> bool {
        !self.name.starts_with("java")
    }

    /// Another server, with settings of its own.
    pub fn another(&mut self, change: impl FnOnce(ServerSpec) -> ServerSpec) -> Server {
        self.count += 1;
        let dir = self.dir.path().join(self.count.to_string());
        Server::start(change(ServerSpec::named(&self.name)), &dir).expect("a server")
    }

    /// The server must still serve.
    pub fn still_serves(&self) {
        let mut client = Client::connect(self.server.address).expect("a session");
        client.must(&ringkeeper::wire::request::Request::Ping);
        client.must(&ringkeeper::wire::request::Request::CloseSession);
    }
}

fn main() -> ExitCode {
    if let Err(why) = crowds::allow_many_files() {
        eprintln!("hostile: {why}");
        return ExitCode::FAILURE;
    }
    let dir = scratch("hostile", false);
    let name = std::env::var("HOSTILE_SERVER").unwrap_or_else(|_| "ringkeeper".to_owned());
    let spec = ServerSpec::named(&name)
        .config("extendedTypesEnabled=true")
        .property("zookeeper.nio.sessionlessCnxnTimeout", "1000");
    let server = match Server::start(spec, &dir.path().join("main")) {
        Ok(server) => server,
        Err(err) => {
            eprintln!("hostile: {err}");
            return ExitCode::FAILURE;
        }
    };
    let mut context = Context { dir, name, server, count: 0 };
    let cases = [
        frames::CASES,
        records::CASES,
        counts::CASES,
        lists::CASES,
        crowds::CASES,
        slow::CASES,
        throttles::CASES,
        farewells::CASES,
    ];
    support::cases::run(&mut context, &cases.concat())
}
