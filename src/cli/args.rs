//! The command line of `zkserver`.
//!
//! Pure but for [`from_process`], which reads the process's arguments and environment.
//! Verbs are those of `zkServer.sh`; Java-style properties come as `-Dname=value` arguments and,
//! as `ZooKeeper`'s scripts hand them over, in `SERVER_JVMFLAGS` and `JVMFLAGS`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use super::flags::{self, JvmFlags};
use crate::error::{ExitCode, Fatal};

const ABOUT: &str = "A coordination server that takes the place of Apache ZooKeeper.";

const HELP: &str = "\
Verbs:
  start-foreground  run the server here, logging to standard output (the default)
  version           print the version
  start, stop, restart, status
                    come with the ensemble

Without FILE the server listens on 127.0.0.1:2181 and keeps its data in ./data.
Properties are also taken from SERVER_JVMFLAGS and JVMFLAGS; the command line wins over both.

Exit codes: 0 clean stop, 1 unexpected error, 2 wrong command line or configuration,
3 data directory unusable, 4 admin server failed, 10 snapshot failed, 12 unmatched commit,
13 bad quorum packet, 14 election port taken, 20 log or disk failure, 21 io_uring unavailable.";

#[derive(Debug, Parser)]
#[command(name = "zkserver", about = ABOUT, after_help = HELP, disable_version_flag = true)]
struct Line {
    /// A Java-style property, for instance -Dzookeeper.4lw.commands.whitelist=*
    #[arg(short = 'D', value_name = "name=value")]
    property: Vec<String>,

    /// A verb (see below), then the configuration file, for instance conf/zoo.cfg
    #[arg(value_name = "[VERB] [FILE]", num_args = 0..=2)]
    words: Vec<OsString>,
}

/// What `zkserver` was asked to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Run the server in this process.
    StartForeground(Start),
    /// Print the version and end.
    Version,
}

/// What a server is started with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Start {
    /// The configuration file; `None` asks for the embedded default.
    pub file: Option<PathBuf>,
    /// Java-style properties, oldest first: the last of a name wins.
    pub properties: Vec<(String, String)>,
    /// Flags for a Java machine that mean nothing here, for one debug line each.
    pub ignored_flags: Vec<String>,
}

/// Why the command line was not understood, or was not meant to start anything.
#[derive(Debug)]
pub enum ArgsError {
    /// The text to print on standard output before leaving with 0 (`--help`).
    Help(String),
    /// The text to print on standard error before leaving with 2.
    Usage(String),
}

impl From<ArgsError> for Fatal {
    fn from(error: ArgsError) -> Self {
        match error {
            ArgsError::Help(text) => Self::new(ExitCode::Normal, text),
            ArgsError::Usage(text) => Self::new(ExitCode::Invocation, text),
        }
    }
}

/// Reads this process's arguments and `SERVER_JVMFLAGS`, `JVMFLAGS` of its environment.
///
/// # Errors
/// When the line is not one of those in the usage text, or asks for that text.
pub fn from_process() -> Result<Command, ArgsError> {
    let flags = ["SERVER_JVMFLAGS", "JVMFLAGS"].map(|name| std::env::var(name).unwrap_or_default());
    parse(std::env::args_os(), &flags)
}

/// Reads a command line (program name first) and the texts of the flag variables, in their order.
///
/// # Errors
/// When the line is not one of those in the usage text, or asks for that text.
pub fn parse(
    line: impl IntoIterator<Item = OsString>,
    flag_variables: &[String],
) -> Result<Command, ArgsError> {
    let line = Line::try_parse_from(line).map_err(|error| {
        if error.use_stderr() {
            ArgsError::Usage(error.render().to_string())
        } else {
            ArgsError::Help(error.render().to_string())
        }
    })?;
    let mut words = line.words.into_iter();
    let first = words.next();
    let file = match first.as_ref().and_then(|word| word.to_str()).and_then(Verb::from_word) {
        Some(Verb::Version) => return Ok(Command::Version),
        Some(Verb::Later(verb)) => return Err(later(verb)),
        Some(Verb::StartForeground) => words.next(),
        None => first,
    };
    if let Some(extra) = words.next() {
        let extra = extra.to_string_lossy();
        return Err(usage(&format!("'{extra}' follows the configuration file: only one is taken")));
    }
    let mut start = Start { file: file.map(PathBuf::from), ..Start::default() };
    for text in flag_variables {
        let JvmFlags { properties, ignored } = flags::jvm_flags(text);
        start.properties.extend(properties);
        start.ignored_flags.extend(ignored);
    }
    start.properties.extend(line.property.iter().map(|text| flags::property(text)));
    Ok(Command::StartForeground(start))
}

enum Verb {
    StartForeground,
    Version,
    Later(&'static str),
}

impl Verb {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "start-foreground" => Some(Self::StartForeground),
            "version" => Some(Self::Version),
            "start" => Some(Self::Later("start")),
            "stop" => Some(Self::Later("stop")),
            "restart" => Some(Self::Later("restart")),
            "status" => Some(Self::Later("status")),
            _ => None,
        }
    }
}

fn later(verb: &str) -> ArgsError {
    usage(&format!("'{verb}' comes with the ensemble; use 'zkserver start-foreground' until then"))
}

fn usage(why: &str) -> ArgsError {
    ArgsError::Usage(format!(
        "error: {why}\n\nUsage: zkserver [start-foreground|version] [-Dname=value ...] [FILE]\n\n\
         For more information, try '--help'.\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &[&str], flags: &[&str]) -> Result<Command, ArgsError> {
        let flags: Vec<String> = flags.iter().map(|text| (*text).to_owned()).collect();
        parse(std::iter::once("zkserver").chain(line.iter().copied()).map(OsString::from), &flags)
    }

    fn start(file: Option<&str>, properties: &[(&str, &str)]) -> Command {
        Command::StartForeground(Start {
            file: file.map(PathBuf::from),
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ignored_flags: Vec::new(),
        })
    }

    #[test]
    fn lines_that_start_a_server() {
        let cases: [(&[&str], Command); 8] = [
            (&[], start(None, &[])),
            (&["start-foreground"], start(None, &[])),
            (&["zoo.cfg"], start(Some("zoo.cfg"), &[])),
            (&["start-foreground", "zoo.cfg"], start(Some("zoo.cfg"), &[])),
            (&["start-foreground", "-Da=b", "zoo.cfg"], start(Some("zoo.cfg"), &[("a", "b")])),
            (
                &["-Da=b", "start-foreground", "-Dc", "z"],
                start(Some("z"), &[("a", "b"), ("c", "")]),
            ),
            (&["z", "-Dzookeeper.4lw.commands.whitelist=*"], {
                start(Some("z"), &[("zookeeper.4lw.commands.whitelist", "*")])
            }),
            (&["-Da=b=c"], start(None, &[("a", "b=c")])),
        ];
        for (line, expected) in cases {
            assert_eq!(run(line, &[]).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn flag_variables_come_first_so_that_the_line_wins() {
        let Ok(Command::StartForeground(start)) =
            run(&["-Dx=line"], &["-Xmx1g -Dx=server", "-Dx=both -verbose:gc"])
        else {
            panic!("a start")
        };
        let values: Vec<&str> = start.properties.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["server", "both", "line"]);
        assert_eq!(start.ignored_flags, ["-Xmx1g", "-verbose:gc"]);
    }

    #[test]
    fn version_and_help() {
        assert_eq!(run(&["version"], &[]).unwrap(), Command::Version);
        let Err(ArgsError::Help(text)) = run(&["--help"], &[]) else { panic!("help") };
        assert!(text.contains("start-foreground") && text.contains("Exit codes"), "{text}");
        for code in ExitCode::ALL {
            assert!(text.contains(&code.code().to_string()), "{code:?} is in the help");
        }
    }

    #[test]
    fn lines_that_are_refused() {
        let cases: [(&[&str], &str); 7] = [
            (&["stop"], "'stop' comes with the ensemble"),
            (&["start"], "'start' comes with the ensemble"),
            (&["restart"], "'restart' comes with the ensemble"),
            (&["status"], "'status' comes with the ensemble"),
            (&["zoo.cfg", "other.cfg"], "'other.cfg' follows"),
            (&["--port", "1"], "unexpected argument '--port'"),
            (&["a", "b", "c"], "'c'"),
        ];
        for (line, expected) in cases {
            let Err(ArgsError::Usage(text)) = run(line, &[]) else { panic!("{line:?} is refused") };
            assert!(text.contains(expected), "{line:?}: {text}");
            assert!(text.contains("Usage: zkserver"), "{line:?}: {text}");
        }
    }
}
