//! What /proc tells of processes: their CPU time and memory; and of our own threads.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// User and system time since its start, by the kernel's 10 ms ticks.
    pub(crate) cpu_us: u64,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
    /// Bytes that it caused to be written to disks; `None` for another user's process.
    pub(crate) disk_written_bytes: Option<u64>,
}

impl Usage {
    /// Of a process; `None` if there is none, or it is not ours to see.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let ticks = cpu_ticks(&read("stat")?)?;
        let io = read("io").and_then(|io| field(&io, "write_bytes:"));
        Some(Self {
            cpu_us: ticks * 1_000_000 / rustix::param::clock_ticks_per_second(),
            rss_bytes: field(&read("status")?, "VmRSS:")? * 1024,
            disk_written_bytes: io,
        })
    }
}

impl Usage {
    /// Of several processes together; `Err` names one that is not there.
    fn of_all(pids: &[u32]) -> Result<Self, u32> {
        let mut sum = Self { disk_written_bytes: Some(0), ..Self::default() };
        for pid in pids {
            let one = Self::of(*pid).ok_or(*pid)?;
            sum.cpu_us += one.cpu_us;
            sum.rss_bytes += one.rss_bytes;
            let written = sum.disk_written_bytes.zip(one.disk_written_bytes);
            sum.disk_written_bytes = written.map(|(sum, one)| sum + one);
        }
        Ok(sum)
    }
}

/// Fields 14 and 15 of `stat`; the second, a name, may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The number behind a label.
fn field(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time of one of our threads, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct ThreadCpu {
    /// Running.
    pub(crate) busy: u64,
    /// Ready to run while something else did.
    pub(crate) waiting: u64,
    /// The time in which.
    pub(crate) span: u64,
}

impl ThreadCpu {
    /// What was used since `first`, in `span`.
    pub(crate) const fn since(self, first: Self, span: u64) -> Self {
        Self {
            busy: self.busy.saturating_sub(first.busy),
            waiting: self.waiting.saturating_sub(first.waiting),
            span,
        }
    }
}

/// Of the calling thread, since its start; zeros where the kernel does not tell.
pub(crate) fn thread_cpu() -> ThreadCpu {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut fields = text.split_whitespace().map_while(|field| field.parse().ok());
    let (busy, waiting) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
    ThreadCpu { busy, waiting, span: 0 }
}

/// Processes, watched over a run; their figures are added up.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pids: Vec<u32>,
    before: Usage,
    after: Usage,
    rss_peak_bytes: u64,
    gone: bool,
}

impl Watched {
    /// An error if one of them is not there.
    pub(crate) fn begin(pids: &[u32]) -> Result<Self, String> {
        let seen = Usage::of_all(pids);
        let before = seen.map_err(|pid| format!("no process {pid} to be seen"))?;
        let rss_peak_bytes = before.rss_bytes;
        Ok(Self { pids: pids.to_vec(), before, after: before, rss_peak_bytes, gone: false })
    }

    /// The measurement begins here.
    pub(crate) fn restart(&mut self) {
        if let Ok(again) = Usage::of_all(&self.pids) {
            self.rss_peak_bytes = self.rss_peak_bytes.max(again.rss_bytes);
            self.before = Usage { rss_bytes: self.before.rss_bytes, ..again };
            self.after = again;
        }
    }

    pub(crate) fn sample(&mut self) {
        match Usage::of_all(&self.pids) {
            Err(_) => self.gone = true,
            Ok(usage) => {
                self.after = usage;
                self.rss_peak_bytes = self.rss_peak_bytes.max(usage.rss_bytes);
            }
        }
    }

    /// After the measurement: what it holds, not what it spends.
    pub(crate) fn sample_memory(&mut self) {
        let cpu_us = self.after.cpu_us;
        self.sample();
        self.after.cpu_us = cpu_us;
    }

    /// What it used for `ops` operations in `span`.
    pub(crate) fn report(&self, ops: u64, span: Duration) -> ServerUse {
        let cpu_us = self.after.cpu_us.saturating_sub(self.before.cpu_us);
        let written = self.after.disk_written_bytes.zip(self.before.disk_written_bytes);
        let written = written.map(|(after, before)| after.saturating_sub(before));
        let per_op = |amount: u64| (ops > 0).then(|| super::ratio(amount, ops));
        ServerUse {
            pids: self.pids.clone(),
            gone: self.gone,
            cpu_s: super::ratio(cpu_us, 1_000_000),
            cpu_us_per_op: per_op(cpu_us),
            cores: super::ratio(cpu_us, u64::try_from(span.as_micros()).unwrap_or(0).max(1)),
            rss_before_bytes: self.before.rss_bytes,
            rss_peak_bytes: self.rss_peak_bytes,
            rss_after_bytes: self.after.rss_bytes,
            disk_written_bytes: written,
            disk_written_bytes_per_op: written.and_then(per_op),
        }
    }
}

/// What the servers used for a run, all of them together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerUse {
    pub(crate) pids: Vec<u32>,
    /// One of them was no more at the end.
    pub(crate) gone: bool,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_us_per_op: Option<f64>,
    /// Cores busy on average.
    pub(crate) cores: f64,
    /// Before the run made its znodes.
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
    pub(crate) rss_after_bytes: u64,
    pub(crate) disk_written_bytes: Option<u64>,
    pub(crate) disk_written_bytes_per_op: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    fn fields_are_found_by_label() {
        assert_eq!(field("VmHWM:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(field("VmHWM:\t 9 kB\n", "VmRSS:"), None);
    }

    #[test]
    fn our_own_process_is_there() {
        let mut watched = Watched::begin(&[std::process::id()]).unwrap();
        watched.sample();
        let server_use = watched.report(0, Duration::from_secs(1));
        assert!(server_use.rss_peak_bytes > 0 && !server_use.gone);
        assert_eq!(server_use.cpu_us_per_op, None);
    }
}
