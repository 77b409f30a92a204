//! The command line of `zkserver`.
//!
//! Pure but for [`from_process`], which reads the process's arguments and environment.
//! Verbs are those of `zkServer.sh`; Java-style properties come as `-Dname=value` arguments and,
//! as `ZooKeeper`'s scripts hand them over, in `SERVER_JVMFLAGS` and `JVMFLAGS`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::flags::{self, JvmFlags};
use super::variables::Variables;
use crate::error::{ExitCode, Fatal};

const ABOUT: &str = "A coordination server that takes the place of Apache ZooKeeper.";

const USAGE: &str = "zkserver [--config <conf-dir>] \
    {start|start-foreground|stop|version|restart|status|print-cmd|doctor} \
    [-Dname=value ...] [FILE]";

const HELP: &str = "\
Verbs:
  start             run the server in the background, and wait until it serves
  start-foreground  run the server here, logging to standard output (the default)
  stop              stop what 'start' started, and wait until it is gone
  restart           stop, then start
  status            ask the server which mode it is in
  print-cmd         print what 'start' runs
  doctor            check the configuration and what it needs of this machine
  version           print the version

FILE: a plain name is looked for in the configuration folder. Without FILE, $ZOOCFG (zoo.cfg)
is looked for in --config or $ZOOCFGDIR, else in conf/ beside the program's folder, in ./conf and
in /etc/ringkeeper; where there is none the server listens on 127.0.0.1:2181 and keeps its data
in ./data. 'start' logs to $ZOO_LOG_DIR, or else to dataDir. docs/OPERATING.md tells more.
Properties are also taken from SERVER_JVMFLAGS and JVMFLAGS; the command line wins over both.

Exit codes: 0 clean stop, 1 unexpected error, 2 wrong command line or configuration,
3 data directory unusable, 4 admin server failed, 10 snapshot failed, 12 unmatched commit,
13 bad quorum packet, 14 election port taken, 20 log or disk failure, 21 io_uring unavailable.";

#[derive(Debug, Parser)]
#[command(name = "zkserver", about = ABOUT, override_usage = USAGE, after_help = HELP)]
#[command(disable_version_flag = true)]
struct Line {
    /// The folder that holds zoo.cfg
    #[arg(long, value_name = "FOLDER")]
    config: Option<PathBuf>,

    /// A Java-style property, for instance -Dzookeeper.4lw.commands.whitelist=*
    #[arg(short = 'D', value_name = "name=value")]
    property: Vec<String>,

    /// How 'start' starts it: leaves the terminal's session first
    #[arg(long, hide = true)]
    detached: bool,

    /// A verb (see below), then the configuration file, for instance conf/zoo.cfg
    #[arg(value_name = "[VERB] [FILE]", num_args = 0..=2)]
    words: Vec<OsString>,
}

/// What `zkserver` was asked to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Print the version and end.
    Version,
    /// Something with one server.
    Run(Verb, Start),
}

/// What to do with a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Run it in this process.
    StartForeground,
    /// Run it in the background.
    Start,
    /// Stop the one in the background.
    Stop,
    /// Both.
    Restart,
    /// Ask it for its mode.
    Status,
    /// Print what [`Self::Start`] runs.
    PrintCommand,
    /// Check what it needs.
    Doctor,
}

/// Which server, and how it is started.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Start {
    /// The configuration file as it was typed.
    pub file: Option<PathBuf>,
    /// The folder to look for it in (`--config`).
    pub config_dir: Option<PathBuf>,
    /// Java-style properties, oldest first: the last of a name wins.
    pub properties: Vec<(String, String)>,
    /// Flags for a Java machine that mean nothing here, for one debug line each.
    pub ignored_flags: Vec<String>,
    /// Whether to leave the session of the terminal.
    pub is_detached: bool,
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
    let variables = Variables::from_process();
    let is_found = |word: &Path, folder: Option<&Path>| {
        word.is_file() || variables.config_file(Some(word), folder).is_some_and(|at| at.is_file())
    };
    parse(std::env::args_os(), &flags, is_found)
}

/// Reads a command line (program name first) and the texts of the flag variables, in their order.
/// `is_found` tells whether a word is a configuration file, given the folder of `--config`.
///
/// # Errors
/// When the line is not one of those in the usage text, or asks for that text.
pub fn parse(
    line: impl IntoIterator<Item = OsString>,
    flag_variables: &[String],
    is_found: impl Fn(&Path, Option<&Path>) -> bool,
) -> Result<Command, ArgsError> {
    let line: Vec<OsString> = line.into_iter().collect();
    let detached = detached_word(&line);
    let line = Line::try_parse_from(line).map_err(|error| {
        if error.use_stderr() {
            ArgsError::Usage(error.render().to_string())
        } else {
            ArgsError::Help(error.render().to_string())
        }
    })?;
    let is_file =
        |text: &&String| !text.contains('=') && is_found(Path::new(text), line.config.as_deref());
    if let Some(word) = detached.as_ref().or_else(|| line.property.iter().find(is_file)) {
        return Err(usage(&format!(
            "'{word}' behind -D is no property: it has no '='. A configuration file stands alone; \
             -D{word}= sets a property of that name to nothing"
        )));
    }
    let mut words = line.words.into_iter();
    let first = words.next();
    let (verb, file) = match first.as_ref().and_then(|word| word.to_str()) {
        Some("version") => return Ok(Command::Version),
        // Of ZooKeeper 3.0: its data is long past.
        Some("upgrade") => {
            return Err(usage(
                "there is nothing to upgrade: data of ZooKeeper 3.4 and later is read as it is",
            ));
        }
        Some(word) => match Verb::from_word(word) {
            Some(verb) => (verb, words.next()),
            None => (Verb::StartForeground, first),
        },
        None => (Verb::StartForeground, first),
    };
    if let Some(extra) = words.next() {
        let extra = extra.to_string_lossy();
        return Err(usage(&format!("'{extra}' follows the configuration file: only one is taken")));
    }
    let mut start = Start {
        file: file.map(PathBuf::from),
        config_dir: line.config,
        is_detached: line.detached,
        ..Start::default()
    };
    for text in flag_variables {
        let JvmFlags { properties, ignored } = flags::jvm_flags(text);
        start.properties.extend(properties);
        start.ignored_flags.extend(ignored);
    }
    start.properties.extend(line.property.iter().map(|text| flags::property(text)));
    Ok(Command::Run(verb, start))
}

/// What stands behind a `-D` of its own without being a property. COMPAT: Java knows no `-D` apart
/// from its name, and takes an attached name without a value for an empty one.
fn detached_word(line: &[OsString]) -> Option<String> {
    let options = line.split(|word| word == "--").next().unwrap_or_default();
    let pairs = options.windows(2).filter(|pair| pair[0] == "-D");
    let mut words = pairs.map(|pair| pair[1].to_string_lossy());
    words.find(|word| !word.contains('=')).map(std::borrow::Cow::into_owned)
}

/// COMPAT: the words of `zkServer.sh`, and `doctor`.
const VERBS: [(&str, Verb); 7] = [
    ("start-foreground", Verb::StartForeground),
    ("start", Verb::Start),
    ("stop", Verb::Stop),
    ("restart", Verb::Restart),
    ("status", Verb::Status),
    ("print-cmd", Verb::PrintCommand),
    ("doctor", Verb::Doctor),
];

impl Verb {
    /// The one of this name.
    pub fn from_word(word: &str) -> Option<Self> {
        VERBS.iter().find(|(name, _)| *name == word).map(|(_, verb)| *verb)
    }
}

fn usage(why: &str) -> ArgsError {
    ArgsError::Usage(format!(
        "error: {why}\n\nUsage: {USAGE}\n\nFor more information, try '--help'.\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &[&str], flags: &[&str]) -> Result<Command, ArgsError> {
        let flags: Vec<String> = flags.iter().map(|text| (*text).to_owned()).collect();
        let line = std::iter::once("zkserver").chain(line.iter().copied()).map(OsString::from);
        parse(line, &flags, |word, folder| {
            let in_folder = folder == Some(Path::new("etc")) && word == Path::new("mine.cfg");
            in_folder || word == Path::new("conf/zoo.cfg")
        })
    }

    fn start(file: Option<&str>, properties: &[(&str, &str)]) -> Command {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let file = file.map(PathBuf::from);
        let properties = properties.iter().map(owned).collect();
        Command::Run(Verb::StartForeground, Start { file, properties, ..Start::default() })
    }

    #[test]
    fn lines_that_start_a_server() {
        let cases: [(&[&str], Command); 11] = [
            (&["-D", "a=b", "z"], start(Some("z"), &[("a", "b")])),
            (&["-Dmine.cfg", "z"], start(Some("z"), &[("mine.cfg", "")])),
            (&["-Dconf/zoo.cfg=", "z"], start(Some("z"), &[("conf/zoo.cfg", "")])),
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
        let Ok(Command::Run(Verb::StartForeground, start)) =
            run(&["-Dx=line"], &["-Xmx1g -Dx=server", "-Dx=both -verbose:gc"])
        else {
            panic!("a start")
        };
        let values: Vec<&str> = start.properties.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["server", "both", "line"]);
        assert_eq!(start.ignored_flags, ["-Xmx1g", "-verbose:gc"]);
    }

    #[test]
    fn every_verb_takes_a_file_and_a_folder() {
        for (word, verb) in VERBS {
            let Ok(Command::Run(read, start)) = run(&["--config", "etc", word, "zoo.cfg"], &[])
            else {
                panic!("{word}")
            };
            assert_eq!(read, verb);
            assert_eq!(start.file.as_deref(), Some(std::path::Path::new("zoo.cfg")));
            assert_eq!(start.config_dir.as_deref(), Some(std::path::Path::new("etc")));
            let Err(ArgsError::Help(help)) = run(&["--help"], &[]) else { panic!("help") };
            assert!(help.contains(&format!("\n  {word} ")), "{word} is in the help");
        }
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
        let cases: [(&[&str], &str); 9] = [
            (&["-D", "conf/zoo.cfg"], "'conf/zoo.cfg' behind -D is no property"),
            (&["start-foreground", "-D", "none.cfg"], "'none.cfg' behind -D is no property"),
            (&["-D", "a=b", "-D", "c"], "-Dc= sets"),
            (&["-Dconf/zoo.cfg"], "'conf/zoo.cfg' behind -D is no property"),
            (&["--config", "etc", "stop", "-Dmine.cfg"], "'mine.cfg' behind -D is no property"),
            (&["upgrade"], "nothing to upgrade"),
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
