//! Processes that must not outlive the one that has started them, however that ends.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use parking_lot::Mutex;

/// Keeps a list of process ids; kills what is on it when its input closes.
const SCRIPT: &str = r#"pids=" "
while read -r what pid; do
  case $what in
    watch) pids="$pids$pid " ;;
    forget) pids="${pids%% "$pid" *} ${pids#* "$pid" }" ;;
  esac
done
for pid in $pids; do kill -KILL "$pid" 2> /dev/null; done"#;

static WARDEN: Mutex<Option<Child>> = Mutex::new(None);

/// From now on this child ends with us.
pub(crate) fn watch(pid: u32) -> anyhow::Result<()> {
    tell("watch", pid)
}

/// The child has ended and was waited for: its id may come to mean another process.
pub(crate) fn forget(pid: u32) -> anyhow::Result<()> {
    tell("forget", pid)
}

fn tell(what: &str, pid: u32) -> anyhow::Result<()> {
    let mut warden = WARDEN.lock();
    if warden.is_none() {
        let mut command = Command::new("/bin/sh");
        // Not in the terminal's group: an interrupt is for the test, after which the warden does its work.
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        *warden = Some(command.spawn().context("cannot start /bin/sh")?);
    }
    let input = warden.as_mut().and_then(|child| child.stdin.as_mut()).context("the warden has no input")?;
    writeln!(input, "{what} {pid}").context("the warden of the tests has ended")
}
