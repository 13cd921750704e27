//! The archive on a disk that is full: a small file system in memory, in a mount namespace of its own, so that nothing
//! is left mounted however the test ends.
//!
//! Root makes such a namespace, and so does any user where the kernel lets users have namespaces of their own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{Figures, times, trial};
use crate::trial::{Follower, Running, Trial, variable, wait_for};

/// Held by a process that does nothing else; it goes with it.
struct Disk {
    holder: Child,
    mount: PathBuf,
}

impl Disk {
    fn new(mount: PathBuf) -> Self {
        std::fs::create_dir_all(&mount).unwrap();
        let script = "mount -t tmpfs -o size=2m,mode=777 none \"$0\" && echo mounted && exec sleep infinity";
        let holder = |flags: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(flags).args(["sh", "-c", script]).arg(&mount);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
            let mut said = String::new();
            BufReader::new(child.stdout.take()?).read_line(&mut said).ok()?;
            if said.trim() == "mounted" {
                return Some(child);
            }
            drop(child.wait());
            None
        };
        let holder = holder(&["--mount"]).or_else(|| holder(&["--user", "--map-root-user", "--mount"])).expect(
            "no small disk can be mounted: run the tests as root, or allow user namespaces \
             (sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0)",
        );
        Self { holder, mount }
    }

    /// The disk as it is seen from here.
    fn path(&self) -> PathBuf {
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(self.mount.strip_prefix("/").unwrap())
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("ballast")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        // The last bytes, that are less than a page.
        while file.write_all(&[0]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }

    /// `bellwether` where it sees the disk.
    fn start(&self, trial: &Trial, arguments: &[&str]) -> Running {
        let (bare, _) = trial.command(arguments);
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !same_user_namespace(self.holder.id()) {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(bare.get_program());
        let (mut command, log) = trial.prepare(command, arguments);
        command.env(variable("archive.url"), &self.mount);
        Running::spawn(command, log)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn same_user_namespace(id: u32) -> bool {
    let of = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/user")).ok();
    of("self") == of(&id.to_string())
}

fn failures(running: &Running) -> f64 {
    running.metric_or_zero("bellwether_segment_failures_total", "")
}

fn written(running: &Running) -> f64 {
    running.metric_or_zero("bellwether_segments_total", "result=\"written\"")
}

#[test]
fn a_full_disk_holds_the_archive_up_and_nobody_else_and_then_stops_the_process() {
    let count = times("disk", 2);
    let trial = trial("disk");
    trial.done(&["topics"]);
    let disk = Disk::new(trial.path("small"));
    let (follower, signals) = (Follower::start(&trial), Follower::of(&trial, "index"));
    let load = trial.load(100);
    let mut figures = Figures::new("the archive's disk is full, then freed", count);
    let mut running = disk.start(&trial, &["run"]);
    for round in 0..count {
        wait_for("a segment", || (written(&running) > 0.0).then_some(()));
        disk.fill();
        let before = failures(&running);
        wait_for("an attempt that fails", || (failures(&running) > before).then_some(()));
        // Score and signal go on while the archive tries again.
        follower.wait_more(100);
        signals.wait_more(10);
        running.assert_runs();
        if round % 2 == 0 {
            wait_for("three attempts", || (failures(&running) >= before + 3.0).then_some(()));
            let before = written(&running);
            disk.free();
            let freed = Instant::now();
            wait_for("a segment after all", || (written(&running) > before).then_some(()));
            figures.span("first segment after it was freed", freed.elapsed());
        } else {
            let status = running.wait();
            assert_eq!(status.code(), Some(70), "{}", running.said());
            assert!(running.said().contains("no space is left"), "{}", running.said());
            // Nor does one begin that could not keep what it reads.
            let mut refused = disk.start(&trial, &["run"]);
            assert_eq!(refused.wait().code(), Some(69), "{}", refused.said());
            assert!(refused.said().contains("archive"), "{}", refused.said());
            disk.free();
            running = disk.start(&trial, &["run"]);
            running.wait_ready();
        }
        running.assert_runs();
    }
    let sent = load.stop();
    running.stop();
    let mut rest = disk.start(&trial, &["run", "--until-end"]);
    assert_eq!(rest.wait().code(), Some(0), "{}", rest.said());
    figures.settle_with(&trial.sums_with_archive(&disk.path()), sent);
}
