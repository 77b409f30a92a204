//! Tells the binary which commit it is made of, for `srvr`, `envi` and `zkserver version`.
//!
//! Only release builds ask git, so that a commit does not rebuild everything in development.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let git = |format: &str| {
        let mut command = Command::new("git");
        command.args([
            "show",
            "--no-patch",
            "--abbrev=12",
            "HEAD",
            "--date=format-local:%F %H:%M UTC",
        ]);
        let output = command.arg(format).env("TZ", "UTC").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let (mut commit, mut date) = (None, None);
    if release {
        for file in [".git/HEAD", ".git/logs/HEAD"] {
            if Path::new(file).exists() {
                println!("cargo::rerun-if-changed={file}");
            }
        }
        (commit, date) = (git("--format=%h"), git("--format=%cd"));
    }
    let commit = commit.unwrap_or_else(|| "dev".to_owned());
    let date = date.unwrap_or_else(|| "1970-01-01 00:00 UTC".to_owned());
    println!("cargo::rustc-env=RINGKEEPER_COMMIT={commit}");
    println!("cargo::rustc-env=RINGKEEPER_DATE={date}");
}
