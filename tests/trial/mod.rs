//! What the tests of the whole pipeline share: a pipeline of one test ([`Trial`]), the processes of the real binary that
//! run it ([`Running`]), a broker of one's own ([`Broker`]), posts with known ids (`load`), versions of a model
//! ([`Models`]), somebody who reads what is committed ([`Follower`]) and the sums at the end ([`Outcome`]).
//!
//! The common broker is in `BELLWETHER_TEST_KAFKA`; the binary is the one that cargo built, unless
//! `BELLWETHER_TEST_BINARY` names another.

mod archive;
mod broker;
mod findings;
mod follower;
mod load;
mod models;
mod outcome;
mod reading;
mod running;
mod signalled;

pub use archive::segments;
pub use broker::Broker;
pub use follower::{Follower, Moment};
pub use load::post;
pub use models::Models;
pub use outcome::{Outcome, Place, connect, header, ids, json_of, place_of_dead, stands_at, text};
pub use reading::ends;
pub use running::{Running, sum_of};

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(90);
const INSTRUMENTS: &str = "id,name,aliases\nXTST:AURM,Aurora Mills,\nXTST:BRKW,Brookwater,\nXTST:CND0,Cinder Oak,\nXTST:CND1,Copper Reef,\n\
    XTST:CND2,Cobalt Bay,\nXTST:CND3,Cedar Ridge,\nXTST:CND4,Coral Point,\n";

/// A pipeline of one test: a folder, a file and topics.
pub struct Trial {
    folder: tempfile::TempDir,
    pub name: String,
    pub servers: String,
    /// Settings over those of the file, for every process: `kafka.start_timeout` and its value.
    settings: Vec<(String, String)>,
    /// The number of the next post of a load.
    next_post: AtomicUsize,
}

impl Trial {
    pub fn new(name: &str) -> Self {
        let servers = std::env::var("BELLWETHER_TEST_KAFKA")
            .expect("BELLWETHER_TEST_KAFKA is not set: run the tests with `make test`, which starts a broker for them");
        Self::at(name, servers)
    }

    pub fn at(name: &str, servers: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let trial = Self {
            folder: tempfile::tempdir().unwrap(),
            name: format!("p{}-{since}-{number}-{name}", std::process::id()),
            servers,
            settings: Vec::new(),
            next_post: AtomicUsize::new(0),
        };
        std::fs::write(trial.path("instruments.csv"), INSTRUMENTS).unwrap();
        std::fs::write(trial.path("pipeline.toml"), trial.file()).unwrap();
        trial
    }

    /// Lays a setting over the file, for every process that starts from now on.
    pub fn set(mut self, setting: &str, value: &str) -> Self {
        self.settings.push((setting.to_owned(), value.to_owned()));
        self
    }

    /// The rule holds for every score there is, so that an alert depends on no weight of the tiny model.
    fn file(&self) -> String {
        format!(
            r#"name = "{name}"
tick_interval = "200ms"
grace = "4s"
[kafka]
bootstrap_servers = "{servers}"
instance = "only"
partitions = 2
start_timeout = "3s"
[[source]]
topic = "{news}"
kind = "news"
[[source]]
topic = "{social}"
kind = "social"
fields = {{ text = ["/body"] }}
[model]
directory = "{models}"
name = "tiny"
device = "cpu"
[instruments]
file = "instruments.csv"
[[rule]]
name = "talk"
subjects = ["XTST:*"]
when = {{ index_above = -0.99, over = "30m", mentions_min = 5 }}
severity = "info"
[sample]
policy = "all"
[archive]
url = "archive"
segment_age = "1s"
[web]
listen = "127.0.0.1:0"
"#,
            name = self.name,
            servers = self.servers,
            news = self.input("news"),
            social = self.input("social"),
            models = concat!(env!("CARGO_MANIFEST_DIR"), "/models"),
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn input(&self, kind: &str) -> String {
        format!("{}-in-{kind}", self.name)
    }

    pub fn own(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    /// The command line of the binary on this pipeline's file, with a log of its own.
    pub fn command(&self, arguments: &[&str]) -> (Command, PathBuf) {
        let binary =
            std::env::var("BELLWETHER_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bellwether").into());
        self.prepare(Command::new(binary), arguments)
    }

    /// As [`Trial::command`], without the pipeline's file.
    pub fn bare(&self, arguments: &[&str]) -> (Command, PathBuf) {
        let (command, log) = self.command(&arguments[..1]);
        let mut bare = Command::new(command.get_program());
        bare.args(arguments).env_remove("RUST_LOG");
        let file = File::options().append(true).open(&log).unwrap();
        bare.stdout(file.try_clone().unwrap()).stderr(file);
        (bare, log)
    }

    /// As [`Trial::command`], where `command` is what the binary is started with (`nsenter … bellwether`).
    pub fn prepare(&self, mut command: Command, arguments: &[&str]) -> (Command, PathBuf) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        command.arg(arguments[0]).arg(self.path("pipeline.toml")).args(&arguments[1..]).env_remove("RUST_LOG");
        for (name, _) in std::env::vars().filter(|(name, _)| name.to_ascii_uppercase().starts_with("BELLWETHER__")) {
            command.env_remove(name);
        }
        for (setting, value) in &self.settings {
            command.env(variable(setting), value);
        }
        let log = self.path(&format!("{}-{}.log", arguments[0], NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        (command, log)
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        let (command, log) = self.command(arguments);
        Running::spawn(command, log)
    }

    /// `bellwether run` under a name of its own.
    pub fn run_as(&self, instance: &str) -> Running {
        let (mut command, log) = self.command(&["run"]);
        command.env(variable("kafka.instance"), instance);
        Running::spawn(command, log)
    }

    /// Runs a command to its end, which must be a good one.
    pub fn done(&self, arguments: &[&str]) {
        self.done_within(SOON, arguments);
    }

    /// The same for what may take so long.
    pub fn done_within(&self, limit: Duration, arguments: &[&str]) {
        let mut running = self.start(arguments);
        let status = running.wait_within(limit);
        assert_eq!(status.code(), Some(0), "{arguments:?}: {}", running.said());
    }
}

/// The variable that lays over a setting: `kafka.start_timeout` is `BELLWETHER__KAFKA__START_TIMEOUT`.
pub fn variable(setting: &str) -> String {
    format!("BELLWETHER__{}", setting.replace('.', "__").to_ascii_uppercase())
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    wait_within(SOON, what, &mut ask)
}

/// Asks until there is an answer, for as long as `limit`.
pub fn wait_within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited {} s in vain: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}
