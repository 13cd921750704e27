//! A process of the real binary: what it said, what its page answers, and signals for it.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use bellwether::metrics::{ALL, Family, Kind};

use super::{SOON, wait_for};

/// A command that runs, and is killed when its test ends before it.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub fn spawn(mut command: Command, log: PathBuf) -> Self {
        Self { child: command.spawn().expect("the binary starts"), log }
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(SOON)
    }

    pub fn wait_within(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it has ended and nobody has asked how.
    fn is_zombie(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z'))
    }

    pub fn assert_runs(&mut self) {
        if let Some(status) = self.ended() {
            panic!("it ended with {status}: {}", self.said());
        }
    }

    /// Ends it the orderly way.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.said());
    }

    pub fn kill(&mut self) {
        self.signal("-KILL");
        assert_eq!(self.wait().code(), None);
    }

    pub fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The status and the text of a page; `None` while nobody answers.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        let said = self.said();
        let (_, rest) = said.split_once("the page is at ")?;
        let url = format!("{}{path}", rest.split_whitespace().next()?);
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build();
        let mut answer = ureq::Agent::from(config).get(&url).call().ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.body_mut().read_to_string().ok()?))
    }

    /// Somebody who asks for the page and never finishes the question.
    pub fn hang(&self) -> std::net::TcpStream {
        use std::io::Write as _;
        let said = self.said();
        let (_, rest) = said.split_once("the page is at http://").expect("it has a page");
        let mut stream = std::net::TcpStream::connect(rest.split_whitespace().next().unwrap()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        stream
    }

    pub fn is_ready(&self) -> bool {
        self.ask("/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// Waits until it is ready; it must not end.
    pub fn wait_ready(&mut self) {
        wait_for("/readyz is green", || {
            self.assert_runs();
            self.is_ready().then_some(())
        });
    }

    /// The sum of a metric over all its labels that have `label` among them: it must be on the page.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let page = self.metrics();
        sum_if_any(&page, name, label).unwrap_or_else(|| panic!("no {name} with {label:?} on the page:\n{page}"))
    }

    /// The same of what is not on the page before it happens for the first time: it must be known by this name.
    pub fn metric_or_zero(&self, name: &str, label: &str) -> f64 {
        sum_of(&self.metrics(), name, label)
    }

    /// All metrics at one moment. A process that has just started, or is busy, may take its time to answer.
    pub fn metrics(&self) -> String {
        wait_for("the page of metrics", || {
            let Some((status, page)) = self.ask("/metrics") else {
                assert!(!self.is_zombie(), "it ended: {}", self.said());
                return None;
            };
            assert_eq!(status, 200, "{page}");
            Some(page)
        })
    }

    /// Partitions that a stage has now; none while nobody answers, as of a process that starts, sleeps or has ended. So
    /// it serves to wait until there are some.
    pub fn partitions(&self, stage: &str) -> u32 {
        let page = self.ask("/metrics").map(|(_, page)| page).unwrap_or_default();
        sum_of(&page, "bellwether_assigned_partitions", &format!("stage=\"{stage}\"")) as u32
    }

    /// Threads, as the process's own page says.
    pub fn threads(&self) -> f64 {
        self.metric("process_threads", "")
    }

    /// Resident memory in bytes, as the process's own page says.
    pub fn memory(&self) -> f64 {
        self.metric("process_resident_memory_bytes", "")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to a process that is known to be ours.
pub fn signal(name: &str, id: u32) {
    let sent = Command::new("kill").args([name, &id.to_string()]).status().unwrap();
    assert!(sent.success(), "kill {name} {id}");
}

/// The sum of a metric on a page, over the series whose labels contain this; zero where there is none yet. The metric must
/// be one that bellwether has.
pub fn sum_of(page: &str, name: &str, label: &str) -> f64 {
    let is_of = |family: &Family| match family.kind {
        Kind::Counter | Kind::Gauge => family.name == name,
        Kind::Histogram(_) => name.strip_prefix(family.name).is_some_and(|part| matches!(part, "_sum" | "_count")),
    };
    assert!(ALL.iter().any(|family| is_of(family)), "there is no metric {name}");
    sum_if_any(page, name, label).unwrap_or(0.0)
}

fn sum_if_any(page: &str, name: &str, label: &str) -> Option<f64> {
    let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    let of_it = lines.filter(|(key, _)| {
        let (family, labels) = key.split_once('{').unwrap_or((key, ""));
        family == name && labels.contains(label)
    });
    let values: Vec<f64> =
        of_it.map(|(key, value)| value.parse().unwrap_or_else(|_| panic!("{key} {value}"))).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
