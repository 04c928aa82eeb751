//! [`Holder`]: who holds a lease, and whether a holder on this machine still lives. It reads `/proc` where there is one; elsewhere
//! only the expiry of a lease tells that its holder is gone. [`LeaseTiming`] says when that is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Who holds leases: a name for people, and what tells other processes of the machine that this one is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    name: String,
    process: Option<ProcessRecord>,
}

/// How leases are kept alive and waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    /// Between renewals.
    pub renewal: Duration,
    /// From a renewal to the end of a lease that nobody renews.
    pub expiry: Duration,
    /// Between looks at a lease that is waited for.
    pub poll: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self { renewal: Duration::from_secs(10), expiry: Duration::from_secs(60), poll: Duration::from_millis(250) }
    }
}

/// A process, as other processes of the same machine can tell whether it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessRecord {
    pub(super) machine: String,
    pub(super) pid: u32,
    pub(super) started: String,
}

/// What can be said of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It is gone.
    Dead,
    /// It lives, or nobody here can know.
    Unknown,
}

impl Holder {
    /// This process, on behalf of `user`; its name reads `user@host pid N`.
    #[must_use]
    pub fn current(user: &str) -> Self {
        Self::of_process(user, std::process::id())
    }

    /// A process of this machine. One that is not alive is not taken for a holder later on either.
    #[must_use]
    pub fn of_process(user: &str, pid: u32) -> Self {
        let host = read_line("/proc/sys/kernel/hostname").unwrap_or_else(|| "localhost".to_owned());
        let started = started(pid).unwrap_or_default();
        let process = machine(&host).map(|machine| ProcessRecord { machine, pid, started });
        Self { name: format!("{user}@{host} pid {pid}"), process }
    }

    /// Someone of whom only the name is known; a lease of theirs ends when it expires.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), process: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn process(&self) -> Option<&ProcessRecord> {
        self.process.as_ref()
    }

    /// What this process can say of the one that a lease names.
    pub(super) fn liveness(&self, other: Option<&ProcessRecord>) -> Liveness {
        match (&self.process, other) {
            (Some(own), Some(other)) if own.machine == other.machine && started(other.pid).as_ref() != Some(&other.started) => {
                Liveness::Dead
            }
            (Some(_) | None, Some(_) | None) => Liveness::Unknown,
        }
    }
}

/// What process ids are unique in: a host, since its last start, in one namespace of process ids.
fn machine(host: &str) -> Option<String> {
    let boot = read_line("/proc/sys/kernel/random/boot_id")?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{host} {boot} {}", namespace.display()))
}

/// When a process started, in ticks since the machine did: a process id is used again, but not with the same start.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything; the 20th field after it is the start. A zombie is dead.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    match fields.next() {
        Some("Z" | "X") | None => None,
        Some(_) => fields.nth(18).map(str::to_owned),
    }
}

fn read_line(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_not_dead_and_an_ended_one_is() {
        let own = Holder::current("tester");
        assert_eq!(own.liveness(own.process()), Liveness::Unknown);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = Holder::of_process("tester", child.id());
        child.wait().unwrap();
        if own.process().is_some() {
            assert_eq!(own.liveness(gone.process()), Liveness::Dead);
        }
        assert_eq!(own.liveness(Holder::named("someone").process()), Liveness::Unknown);
    }
}
