//! Which process drives a run, and whether it still lives.

use std::fs;
use std::path::Path;

use uuid::Uuid;

/// What is known of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It runs on this machine.
    Alive,
    /// It ran on this machine and is gone.
    Dead,
    /// It runs, or ran, somewhere else: only its lease tells.
    Unknown,
}

/// The name of this process as the owner of a run: machine, process id, and a number that no
/// other owner has.
pub(super) fn owner() -> String {
    format!("{}/{}/{}", machine().unwrap_or_default(), std::process::id(), Uuid::now_v7().simple())
}

/// Whether the process that an owner's name stands for still lives.
pub(super) fn liveness(owner: &str) -> Liveness {
    let mut parts = owner.split('/');
    let (Some(its_machine), Some(process)) = (parts.next(), parts.next()) else {
        return Liveness::Unknown;
    };
    match machine() {
        Some(machine) if machine == its_machine => {}
        _ => return Liveness::Unknown,
    }
    // A zombie has ended, though its entry is still there.
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat)
            if !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) =>
        {
            Liveness::Alive
        }
        _ => Liveness::Dead,
    }
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
    fn of_another_machine_nothing_is_known() {
        assert_eq!(liveness("elsewhere:1/1/0"), Liveness::Unknown);
        assert_eq!(liveness("nonsense"), Liveness::Unknown);
    }
}
