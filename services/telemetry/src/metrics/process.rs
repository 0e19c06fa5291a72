//! Figures of the process and its machine (operations reference 1.7), read from `/proc` when somebody asks. Where there
//! is no `/proc` only what the standard library knows is offered.

use std::{
    fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use super::Registry;

/// Processor time as of one moment, in ticks.
#[derive(Default, Clone, Copy)]
struct Ticks {
    process: u64,
    machine_busy: u64,
    machine_all: u64,
}

pub(super) fn register(registry: &Registry) {
    let started = Instant::now();
    let start_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let last = Mutex::new(Ticks::default());
    registry.on_read(move |registry| {
        let set = |name: &str, value: f64| registry.gauge(name, &[]).set(value);
        set("process.start.time.seconds", start_time);
        set("process.uptime.seconds", started.elapsed().as_secs_f64());
        set("system.cpu.count", std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64));
        if let Some(load) = read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()) {
            set("system.load.average.1m", load);
        }
        if let Some((threads, resident)) = read("/proc/self/status").as_deref().and_then(status) {
            set("process.threads", threads);
            set("process.resident.memory.bytes", resident);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            set("process.files.open.files", open.count() as f64);
        }
        if let Some(max) = read("/proc/self/limits").as_deref().and_then(max_files) {
            set("process.files.max.files", max);
        }
        if let Some(now) = ticks() {
            let mut last = last.lock();
            let all = now.machine_all.saturating_sub(last.machine_all).max(1) as f64;
            set("system.cpu.usage", now.machine_busy.saturating_sub(last.machine_busy) as f64 / all);
            set("process.cpu.usage", now.process.saturating_sub(last.process) as f64 / all);
            let nanos = now.process as f64 * 1e9 / rustix::param::clock_ticks_per_second().max(1) as f64;
            let total = registry.counter("process.cpu.time.ns", &[]);
            total.add(nanos - total.value());
            *last = now;
        }
    });
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Threads, and resident memory in bytes.
fn status(text: &str) -> Option<(f64, f64)> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok())
    };
    Some((field("Threads:")?, field("VmRSS:")? * 1024.0))
}

fn max_files(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

fn ticks() -> Option<Ticks> {
    // Fields after the command's name, which may hold blanks: 11 and 12 are user and system time.
    let own = read("/proc/self/stat")?;
    let own: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
    let process = own.get(11)?.parse::<u64>().ok()? + own.get(12)?.parse::<u64>().ok()?;
    let machine = read("/proc/stat")?;
    let machine: Vec<u64> =
        machine.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: u64 = machine.iter().sum();
    // Idle, and waiting for the disk.
    let idle: u64 = machine.iter().skip(3).take(2).sum();
    Some(Ticks { process, machine_busy: all - idle, machine_all: all })
}
