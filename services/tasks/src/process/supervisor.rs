//! The supervisor of one process.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{
        Pid, Resource, Rlimit, WaitOptions, WaitStatus, getpid, getrlimit, set_child_subreaper, setrlimit, setsid, wait,
    },
    thread::set_no_new_privs,
};

use super::{
    tree,
    wire::{Breach, Order, Said},
};

/// How often the limits are looked at that the kernel does not watch.
const LOOK: Duration = Duration::from_millis(200);

/// Pause between two rounds of killing, and how long they go on: a process that is stuck in the kernel ends when it
/// comes out, not before.
const ROUND: Duration = Duration::from_millis(5);
const ROUNDS_END: Duration = Duration::from_secs(10);

enum Event {
    /// The connection to the worker has ended.
    Stop,
    /// The process itself has ended.
    Ended(WaitStatus),
    /// No descendant is left.
    Alone,
}

/// What the program does when it is started with [`super::SUPERVISOR`]: runs one process that the worker asks for on
/// standard input, kills whatever is left of it, and tells how it ended.
pub fn supervise() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("windhover: the supervisor of a process: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut reader = BufReader::new(control.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.is_empty() {
        // Given up before it was told what to do.
        return Ok(());
    }
    let order: Order = serde_json::from_str(&line)?;
    let said = match guard(&order, reader, &control) {
        Ok(said) => said,
        Err(reason) => Some(Said::Failed(reason)),
    };
    if let Some(said) = said {
        // Without a worker there is nobody to tell.
        let _ = say(&control, &said);
    }
    Ok(())
}

fn say(mut control: &UnixStream, said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_string(said)?;
    line.push('\n');
    control.write_all(line.as_bytes())
}

/// Runs the process to its end. `None`: the worker has gone away.
fn guard(order: &Order, reader: BufReader<UnixStream>, control: &UnixStream) -> Result<Option<Said>, String> {
    confine(order).map_err(|error| format!("the process cannot be confined: {error}"))?;
    let (sender, events) = mpsc::channel();
    let main = start(order)?;
    let _ = say(control, &Said::Started(main.as_raw_pid()));
    watch_connection(reader, sender.clone());
    reap(main, sender);
    let said = attend(order, &events);
    end_all(&events);
    if said.is_none() {
        for folder in &order.remove {
            // The worker may be doing the same.
            let _ = fs::remove_dir_all(folder);
        }
    }
    Ok(said)
}

/// Limits that the process inherits, and what makes this process the keeper of all its descendants.
fn confine(order: &Order) -> io::Result<()> {
    // Out of the terminal and the process group of the server: a Ctrl-C there is the server's to handle.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    // What runs as another user could not be killed.
    set_no_new_privs(true)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Data, order.memory)?;
    // When the machine runs out of memory a script goes before the server.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    Ok(())
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    // The operator of the machine may allow less, and nobody can allow more than that.
    let most = Some(getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most)));
    Ok(setrlimit(resource, Rlimit { current: most, maximum: most })?)
}

fn start(order: &Order) -> Result<Pid, String> {
    let Some((program, arguments)) = order.command.split_first() else {
        return Err("there is no command to run".to_owned());
    };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(order.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&order.folder)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::TOOBIG.raw_os_error() => {
                "the commands and the environment are larger than the system takes; put them into a file of inputFiles"
                    .to_owned()
            }
            _ => format!("'{program}' cannot be run: {error}"),
        })?;
    Ok(Pid::from_child(&child))
}

fn watch_connection(mut reader: BufReader<UnixStream>, events: Sender<Event>) {
    thread::spawn(move || {
        let mut ignored = [0_u8; 64];
        while reader.read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = events.send(Event::Stop);
    });
}

/// Takes the status of whoever ends: orphans come here too.
fn reap(main: Pid, events: Sender<Event>) {
    thread::spawn(move || {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == main => {
                    let _ = events.send(Event::Ended(status));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let _ = events.send(Event::Alone);
    });
}

/// Waits for the end of the process, a limit, or the worker's wish.
fn attend(order: &Order, events: &Receiver<Event>) -> Option<Said> {
    loop {
        match events.recv_timeout(LOOK) {
            Ok(Event::Ended(status)) => {
                return Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Said::Exited(code),
                    (None, signal) => Said::Killed(signal.unwrap_or_default()),
                });
            }
            Ok(Event::Stop | Event::Alone) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(breach) = breach(order) {
                    return Some(Said::Breached(breach));
                }
            }
        }
    }
}

fn breach(order: &Order) -> Option<Breach> {
    let all = tree::descendants();
    if all.len() > order.processes {
        Some(Breach::Processes)
    } else if tree::memory(&all, order.memory) > order.memory {
        Some(Breach::Memory)
    } else {
        None
    }
}

/// Kills every descendant until none is left.
fn end_all(events: &Receiver<Event>) {
    let until = Instant::now() + ROUNDS_END;
    while Instant::now() < until {
        tree::kill(&tree::descendants());
        match events.recv_timeout(ROUND) {
            Ok(Event::Alone) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
