//! A panic ends the process: a thread that is gone would be missed by nobody, and its work would stand still for ever.

use std::io::{self, Write as _};

use crate::cli::Exit;
use crate::kafka;

/// From now on a panic, whichever thread has it, is told and ends the process with 70.
pub(super) fn end_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // That one is caught where it happens.
        if kafka::is_reading_names() {
            return;
        }
        tell(panic);
        let told = "this is a defect of bellwether: the process ends; started again, it goes on from what is committed";
        drop(writeln!(io::stderr().lock(), "{told}"));
        end();
    }));
}

#[expect(clippy::disallowed_methods, reason = "nobody is left to whom an error could be returned")]
fn end() -> ! {
    std::process::exit(Exit::Internal as i32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_panic_of_any_thread_ends_the_process_with_a_reason() {
        let child = format!("{}::a_thread_that_panics", module_path!().split_once("::").unwrap().1);
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &child, "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(70), "{said}");
        assert!(said.contains("one worker less") && said.contains("a defect of bellwether"), "{said}");
    }

    #[test]
    #[ignore = "the process of the test before, and its end"]
    fn a_thread_that_panics() {
        end_on_panic();
        let worker = std::thread::spawn(|| panic!("one worker less"));
        drop(worker.join());
        loop {
            std::thread::park();
        }
    }
}
