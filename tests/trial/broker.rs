//! A broker that one test has for itself, to do to it what must not be done to the common one.

use std::ffi::OsStr;
use std::process::Command;

use super::running::signal;

/// A broker that is killed when the test ends, however it ends.
pub struct Broker(tempfile::TempDir);

impl Broker {
    /// Starts one; its address is the second.
    pub fn start() -> (Self, String) {
        let broker = Self(tempfile::tempdir().unwrap());
        let servers = broker.run("start");
        (broker, servers)
    }

    /// A second node of the same cluster, on which new topics can be put.
    pub fn second(&self) -> Self {
        let second = Self(tempfile::tempdir().unwrap());
        second.call(&[OsStr::new("start"), second.0.path().as_os_str(), self.0.path().as_os_str()]);
        second
    }

    /// `start`, on the data and the port that it has; `stop`; `kill`.
    pub fn run(&self, command: &str) -> String {
        self.call(&[OsStr::new(command), self.0.path().as_os_str()])
    }

    fn call(&self, arguments: &[&OsStr]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka/broker.sh");
        // One that hangs for some seconds is not taken for dead, as with Kafka's own settings.
        let mut script = Command::new(script);
        let script = script.env("BELLWETHER_TEST_KAFKA_SESSION", "18000");
        let done = script.args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Changes the last byte that a stopped broker has of a topic's first partition.
    pub fn rot(&self, topic: &str) {
        let segment = self.0.path().join(format!("data/{topic}-0/00000000000000000000.log"));
        let mut bytes = std::fs::read(&segment).unwrap();
        *bytes.last_mut().unwrap() ^= 0xff;
        std::fs::write(&segment, bytes).unwrap();
    }

    pub fn signal(&self, name: &str) {
        let id = std::fs::read_to_string(self.0.path().join("pid")).unwrap();
        signal(name, id.trim().parse().unwrap());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.0.path().join("log")).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(60).collect();
            eprintln!("the broker said last: {}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        self.run("kill");
    }
}
