//! `status`: asks the server which mode it is in.
//!
//! COMPAT: the words of `zkServer.sh status` on standard output; why it did not answer, which the
//! script does not know, on standard error.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use super::instance::Instance;
use super::{note, say};
use crate::limits::{STATUS_BYTES_MAX, STATUS_WAIT_MS_MAX};
use crate::server::config::ListenAddress;

/// Where a server that listens everywhere is asked.
const LOCAL: &str = "localhost";

/// Asks the server at its client port; fails unless it says its mode.
pub fn status(instance: &Instance) -> ExitCode {
    let clients = &instance.config.clients;
    if instance.config.ensemble.dynamic_file.is_some() && !names_client_port(instance) {
        say("Client port not found in static config file. Looking in dynamic config file.\n");
    }
    if clients.address.is_none() {
        say("Client port not found. Looking for secureClientPort in the static config.\n");
    }
    let Some(address) = clients.address.as_ref().or(clients.secure_address.as_ref()) else {
        say("Unable to find either secure or unsecure client port in any configs. Terminating.\n");
        return ExitCode::FAILURE;
    };
    let is_secure = clients.address.is_none();
    let host = address.host.as_deref().unwrap_or(LOCAL);
    let port = address.port;
    say(&format!("Client port found: {port}. Client address: {host}. Client SSL: {is_secure}.\n"));
    let mode = if is_secure {
        Err("only TLS clients are served there, and this program does not speak TLS yet".to_owned())
    } else {
        mode(address)
    };
    match mode {
        Ok(mode) => {
            say(&format!("{mode}\n"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            note(&format!("{host}:{port}: {why}"));
            if let Some(pid) = instance.signs.holder() {
                note(&format!("process {pid} runs on this data; see its log"));
            }
            say("Error contacting service. It is probably not running.\n");
            ExitCode::FAILURE
        }
    }
}

/// COMPAT: looks as the script does.
fn names_client_port(instance: &Instance) -> bool {
    let text = instance.file.as_ref().and_then(|file| fs::read_to_string(file).ok());
    text.unwrap_or_default().lines().any(|line| line.trim_start().starts_with("clientPort"))
}

/// The line of `srvr` that tells the mode of the server at `address`, or why there is none.
///
/// # Errors
/// In words that say what to do.
pub fn mode(address: &ListenAddress) -> Result<String, String> {
    let host = address.host.as_deref().unwrap_or(LOCAL);
    let text = ask(host, address.port, "srvr").map_err(|error| error.to_string())?;
    let line = text.lines().find(|line| line.starts_with("Mode: "));
    line.map(str::to_owned).ok_or_else(|| match text.lines().next() {
        None => "it closes the connection without an answer".to_owned(),
        Some(line) if line.contains("not currently serving") => {
            "it runs but serves nobody: it has no leader; is a majority of the servers up, and do \
             they reach each other? 'zkserver doctor' looks"
                .to_owned()
        }
        Some(line) if line.contains("whitelist") => {
            "it does not answer srvr: add srvr to 4lw.commands.whitelist".to_owned()
        }
        Some(line) => format!("it answers: {line}"),
    })
}

/// What a server answers to a four-letter word, at the first of the host's addresses that does.
fn ask(host: &str, port: u16, word: &str) -> io::Result<String> {
    let patience = Duration::from_millis(STATUS_WAIT_MS_MAX);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Err(error) => last = error,
            Ok(mut stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.write_all(word.as_bytes())?;
                let mut bytes = Vec::new();
                let read = stream.take(STATUS_BYTES_MAX).read_to_end(&mut bytes);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return if text.is_empty() { read.map(|_| text) } else { Ok(text) };
            }
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What `mode` makes of a server that answers `text`.
    fn answered(text: &'static str) -> Result<String, String> {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let work = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"srvr");
            stream.write_all(text.as_bytes()).unwrap();
        });
        let mode = mode(&ListenAddress { host: Some("127.0.0.1".to_owned()), port });
        work.join().unwrap();
        mode
    }

    #[test]
    fn answers_are_told_apart() {
        let text = "Zookeeper version: 3.9.5\nMode: follower\nNode count: 5\n";
        assert_eq!(answered(text), Ok("Mode: follower".to_owned()));
        let cases = [
            ("This ZooKeeper instance is not currently serving requests\n", "no leader"),
            ("srvr is not executed because it is not in the whitelist.\n", "add srvr to"),
            ("SSH-2.0\n", "it answers: SSH-2.0"),
            ("", "without an answer"),
        ];
        for (text, why) in cases {
            let error = answered(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
