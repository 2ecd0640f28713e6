//! Asking a Python for its `sys.path`, and for nothing else.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A Python that does not answer by then is stopped.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any `sys.path` is long.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// The folders on the `sys.path` of `python`, whether they exist or not; or what went wrong, in words.
///
/// It runs isolated (`-I`), so that neither the folder we stand in nor the environment can put modules in its way.
pub(super) fn path_of(python: &Path) -> Result<Vec<PathBuf>, String> {
    let mut child = Command::new(python)
        .args(["-I", "-c", "import json, sys; print(json.dumps(sys.path))"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let answer = ask(&mut child, PATIENCE);
    // It has ended, or is of no more use.
    let _ = child.kill();
    let _ = child.wait();
    let folders: Vec<String> =
        serde_json::from_str(&answer?).map_err(|error| format!("its answer is not a path: {error}"))?;
    Ok(folders.into_iter().filter(|folder| !folder.is_empty()).map(PathBuf::from).collect())
}

fn ask(child: &mut Child, patience: Duration) -> Result<String, String> {
    let deadline = Instant::now() + patience;
    let output = read_aside(child.stdout.take());
    let complaint = read_aside(child.stderr.take());
    let late = |_| format!("no answer within {} s", patience.as_secs());
    let answer = output.recv_timeout(patience).map_err(late)?;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() > deadline => return Err(format!("still running after {} s", patience.as_secs())),
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.success() {
        return Ok(answer);
    }
    let complaint = complaint.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(format!("{status}: {}", last.trim()))
}

/// Read in a thread, so that neither pipe can fill up and a silent program can be given up.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What was read before an error is what there is.
            let _ = pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(script: &str, patience: Duration) -> Result<String, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answer = ask(&mut child, patience);
        let _ = child.kill();
        child.wait().unwrap();
        answer
    }

    #[test]
    fn a_silent_program_is_given_up() {
        let brief = Duration::from_millis(50);
        assert!(run("exec sleep 600", brief).unwrap_err().starts_with("no answer"));
        assert!(run("exec sleep 600 >&- 2>&-", brief).unwrap_err().starts_with("still running"));
    }

    #[test]
    fn a_talkative_program_is_heard_out() {
        let script = "head -c 300000 /dev/zero >&2; echo said";
        assert_eq!(run(script, PATIENCE).as_deref(), Ok("said\n"));
    }
}
