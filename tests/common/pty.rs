//! The program in a pseudo-terminal: keys in, a screen out.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// How long a condition may take before the test fails: generous, since machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A running program and the screen it draws.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
    /// Its settings before the program began.
    before: String,
}

impl Terminal {
    /// Start the program with these arguments and environment in a terminal of that size.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)], columns: u16, rows: u16) -> Terminal {
        let program = Path::new(env!("CARGO_BIN_EXE_t2m-tui"));
        Terminal::start_program(program, arguments, environment, columns, rows)
    }

    /// The same with another program.
    pub fn start_program(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        columns: u16,
        rows: u16,
    ) -> Terminal {
        let pair =
            native_pty_system().openpty(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env("LC_ALL", "C.UTF-8");
        command.env("XDG_STATE_HOME", super::NO_STATE);
        command.env("XDG_CONFIG_HOME", super::NO_STATE);
        command.env_remove("T2M_CONFIG");
        command.env_remove("NO_COLOR");
        command.env_remove("COLUMNS");
        for (name, value) in environment {
            command.env(name, value);
        }
        let before = all_settings(&*pair.master);
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (into, kept) = (screen.clone(), raw.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().process(&buffer[..count]);
                kept.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let writer = pair.master.take_writer().unwrap();
        Terminal { master: pair.master, writer, child, screen, raw, before }
    }

    /// Every setting of the terminal as it was before the program began, and as it is now.
    pub fn settings_before_and_now(&self) -> (String, String) {
        (self.before.clone(), all_settings(&*self.master))
    }

    /// Type these bytes.
    pub fn send(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    /// The screen's text now.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Everything the program wrote.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).into_owned()
    }

    /// Whether the alternate screen is in use.
    pub fn is_alternate(&self) -> bool {
        self.screen.lock().unwrap().screen().alternate_screen()
    }

    /// Wait until the screen's text fulfils a condition, and return it.
    pub fn wait(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let text = self.text();
            if condition(&text) {
                return text;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what} in vain; the screen is:\n{text}");
            std::thread::sleep(POLL);
        }
    }

    /// Wait until the screen shows this text.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Send the program a signal by name (`TERM`).
    pub fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Change the terminal's size.
    pub fn resize(&self, columns: u16, rows: u16) {
        // The screen first: the program may draw at the new size before this thread comes to its next line.
        self.screen.lock().unwrap().screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// Wait until the program ends.
    pub fn wait_end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it wrote last may still be on its way.
                std::thread::sleep(Duration::from_millis(100));
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not end; the screen is:\n{}", self.text());
            std::thread::sleep(POLL);
        }
    }

    /// Wait until the program was stopped, as by ctrl-z.
    pub fn wait_stopped(&self) {
        let start = Instant::now();
        loop {
            let output = std::process::Command::new("ps").args(["-o", "stat=", "-p", &self.pid().to_string()]).output();
            if String::from_utf8_lossy(&output.unwrap().stdout).starts_with('T') {
                // What it wrote last may still be on its way.
                std::thread::sleep(Duration::from_millis(100));
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not stop; the screen is:\n{}", self.text());
            std::thread::sleep(POLL);
        }
    }

    /// The terminal's settings, as stty prints them.
    pub fn settings(&self) -> String {
        stty(&*self.master, "-a")
    }
}

/// Every flag and special character, in stty's own form.
fn all_settings(master: &dyn MasterPty) -> String {
    stty(master, "-g")
}

fn stty(master: &dyn MasterPty, form: &str) -> String {
    let tty = master.tty_name().unwrap();
    let flag = if cfg!(target_os = "linux") { "-F" } else { "-f" };
    let output = std::process::Command::new("stty").arg(flag).arg(tty).arg(form).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program in a terminal that nobody reads, of a size that fills what the system keeps of it.
pub struct Stuck {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
}

impl Stuck {
    /// Start it with these arguments.
    pub fn start(arguments: &[&str]) -> Stuck {
        let size = PtySize { rows: 300, cols: 1000, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(Path::new(env!("CARGO_BIN_EXE_t2m-tui")));
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).unwrap();
        Stuck { child, master: Some(pair.master) }
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Close the terminal, as a window that is closed does.
    pub fn close(&mut self) {
        self.master = None;
    }

    /// Wait until the program ends: its exit code.
    pub fn wait_end(&mut self) -> u32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            if start.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("the program does not end");
            }
            std::thread::sleep(POLL);
        }
    }
}
