//! Which process does a piece of work, and whether it still lives.

use std::fs;
use std::path::Path;

use uuid::Uuid;

/// What is known of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It runs on this machine.
    Alive,
    /// It ran on this machine and is gone.
    Dead,
    /// It runs, or ran, somewhere else: only its lease tells.
    Unknown,
}

/// The name of this process as the owner of a piece of work: machine, process id, a number that no
/// other owner has, and when it was started, because process ids are used again.
pub fn owner() -> String {
    let process = std::process::id().to_string();
    let machine = machine().unwrap_or_default();
    let started = stat(&process).map(|(_, started)| started).unwrap_or_default();
    format!("{machine}/{process}/{}/{started}", Uuid::now_v7().simple())
}

/// Whether the process that an owner's name stands for still lives.
pub fn liveness(owner: &str) -> Liveness {
    let mut parts = owner.split('/');
    let (Some(its_machine), Some(process)) = (parts.next(), parts.next()) else {
        return Liveness::Unknown;
    };
    match machine() {
        Some(machine) if machine == its_machine => {}
        _ => return Liveness::Unknown,
    }
    let its_start = parts.nth(1).filter(|start| !start.is_empty());
    match stat(process) {
        // A zombie has ended, though its entry is still there.
        Some((state, _)) if state == "Z" => Liveness::Dead,
        // Another process has been given its number.
        Some((_, started)) if its_start.is_some_and(|start| start != started) => Liveness::Dead,
        Some(_) => Liveness::Alive,
        None => Liveness::Dead,
    }
}

/// The state of a process of this machine, and when it was started in ticks since the boot.
fn stat(process: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in brackets and may hold anything; what follows is plain words, the state first.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.nth(18)?.to_owned()))
}

/// This boot of this machine, and the process-id namespace, so that containers are told apart.
/// None where there is no `/proc`.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link(Path::new("/proc/self/ns/pid")).ok()?;
    let namespace: String =
        namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Some(format!("{}:{namespace}", boot.trim()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives() {
        assert_eq!(liveness(&owner()), Liveness::Alive);
    }

    #[test]
    fn a_process_that_ended_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = child.id();
        child.wait().unwrap();
        let owner = owner().replace(&format!("/{}/", std::process::id()), &format!("/{process}/"));
        assert_eq!(liveness(&owner), Liveness::Dead);
    }

    #[test]
    fn a_process_that_was_given_the_number_of_another_is_not_the_other() {
        let owner = owner();
        let (former, started) = owner.rsplit_once('/').unwrap();
        assert!(started.parse::<u64>().unwrap() > 0, "{owner}");
        assert_eq!(liveness(&format!("{former}/1")), Liveness::Dead);
        assert_eq!(liveness(former), Liveness::Alive, "a name that does not say when");
    }

    #[test]
    fn of_another_machine_nothing_is_known() {
        assert_eq!(liveness("elsewhere:1/1/0"), Liveness::Unknown);
        assert_eq!(liveness("nonsense"), Liveness::Unknown);
    }
}
