//! The descendants of this process, as `/proc` shows them.

use std::fs;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Everything below this process. The kernel promises a complete answer only for processes that stand still: whoever
/// needs all of them looks until nothing is left.
pub(super) fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut open = vec![getpid()];
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            found.push(child);
            open.push(child);
        }
    }
    found
}

fn children(parent: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", parent.as_raw_pid());
    let Ok(threads) = fs::read_dir(tasks) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => {
                found.extend(text.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw))
            }
            // Kernels without this file: every process is asked for its parent.
            Err(_) if fs::metadata("/proc/self/task").is_ok() => return children_by_parent(parent),
            Err(_) => {}
        }
    }
    found
}

fn children_by_parent(parent: Pid) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `pid (name) state parent …`; the name may hold anything.
        let after = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
        after.split_whitespace().nth(1).and_then(|text| text.parse().ok()) == Some(parent.as_raw_pid())
    };
    pids.filter(is_child).filter_map(Pid::from_raw).collect()
}

pub(super) fn kill(processes: &[Pid]) {
    for pid in processes {
        // Whoever is gone already needs no killing.
        let _ = kill_process(*pid, Signal::KILL);
    }
}

/// Bytes that the processes have in memory, looked at closely only when they may be more than `limit`: pages that they
/// share count once then.
pub(super) fn memory(processes: &[Pid], limit: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    let resident = |pid: &Pid| {
        let text = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_pid())).unwrap_or_default();
        text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * page
    };
    let rough: u64 = processes.iter().map(resident).sum();
    if rough <= limit {
        rough
    } else {
        processes.iter().map(|pid| proportional(*pid).unwrap_or_else(|| resident(pid))).sum()
    }
}

fn proportional(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_pid())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
