//! A real headless Chromium, asked for the document as its script left it, and for pictures.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(90);

pub struct Browser {
    program: String,
}

impl Browser {
    /// `BELLWETHER_TEST_CHROMIUM`, else `chromium` on the path; fails and says what to do where there is none.
    pub fn find() -> Self {
        let program = std::env::var("BELLWETHER_TEST_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        let found = Command::new(&program).arg("--version").stderr(Stdio::null()).output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "`{program}` does not run, and the page is tested in a real browser: apt-get install chromium, or name one in \
             BELLWETHER_TEST_CHROMIUM, or run make test"
        );
        Self { program }
    }

    /// The document after `budget_ms` of the browser's own virtual time.
    pub fn dom(&self, url: &str, budget_ms: u32) -> String {
        self.run(&[&format!("--virtual-time-budget={budget_ms}"), "--dump-dom", url])
    }

    /// Pictures of the page, dark and light, wide and narrow, where `BELLWETHER_TEST_PICTURES` names a folder.
    pub fn pictures(&self, url: &str, name: &str) {
        let Some(folder) = std::env::var_os("BELLWETHER_TEST_PICTURES").map(PathBuf::from) else { return };
        std::fs::create_dir_all(&folder).unwrap();
        for (scheme, blink) in [("light", "preferredColorScheme=1"), ("dark", "preferredColorScheme=0")] {
            for (width, height) in [(1440, 1500), (420, 4200)] {
                let file = folder.join(format!("{name}-{scheme}-{width}.png"));
                self.run(&[
                    "--virtual-time-budget=5000",
                    "--hide-scrollbars",
                    &format!("--blink-settings={blink}"),
                    &format!("--window-size={width},{height}"),
                    &format!("--screenshot={}", file.display()),
                    url,
                ]);
                assert!(file.exists(), "{} was not taken", file.display());
            }
        }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let home = tempfile::tempdir().unwrap();
        let output = home.path().join("output");
        let mut child = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", home.path().join("profile").display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&output).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > DEADLINE {
                child.kill().unwrap();
                panic!("{} did not end within {DEADLINE:?}", self.program);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::fs::read_to_string(&output).unwrap()
    }
}
