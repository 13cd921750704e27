//! Whether there is memory for a model before it is read: a file that is far too large must be refused, and not end the
//! process that would have read it.

use std::path::Path;

use crate::onnx::BundleError;

/// A session keeps the graph's weights in a form of its own, and works in an arena: so many times the file.
pub const SESSION_FILES: u64 = 3;

/// Refuses a file of which `copies` are to be held where not so much memory is free. Where the system does not say what
/// is free, or the file cannot be looked at, nothing is refused: reading it tells.
///
/// # Errors
/// [`BundleError::NoMemory`].
pub(super) fn check(path: &Path, copies: u64) -> Result<(), BundleError> {
    let (Ok(file), Some(available)) = (path.metadata(), available()) else { return Ok(()) };
    let needed = file.len().saturating_mul(copies);
    if needed <= available {
        return Ok(());
    }
    Err(BundleError::NoMemory { path: path.to_owned(), needed: needed >> 20, available: available >> 20 })
}

/// Bytes that can be had: what the kernel calls available, or what is left to the control group if that is less.
fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let of_system = read("/proc/meminfo").and_then(|text| of_meminfo(&text));
    let group = |file: &str| read(&format!("/sys/fs/cgroup/memory.{file}"));
    let of_group = || of_group(&group("max")?, &group("current")?, &group("stat")?);
    of_system.into_iter().chain(of_group()).min()
}

/// `MemAvailable`, in bytes (proc(5): kilobytes).
fn of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

/// What a control group (version 2) has left; nothing where it has no limit. Files that are cached and long unused do
/// not count, since the kernel drops them first (so does the kubelet's working set).
fn of_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok()).unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(of_meminfo("MemTotal:  9 kB\nMemAvailable:   12 kB\nBuffers: 1 kB\n"), Some(12_288));
        assert_eq!(of_meminfo("MemTotal:  9 kB\n"), None);
        assert_eq!(of_group("4096\n", "1000\n", "anon 1\ninactive_file 900\n"), Some(3_996));
        assert_eq!(of_group("4096\n", "5000\n", ""), Some(0));
        assert_eq!(of_group("max\n", "5000\n", ""), None);
    }

    #[test]
    fn a_file_larger_than_the_memory_is_refused_and_one_that_is_not_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("graph");
        std::fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
        let said = check(&path, 3).unwrap_err().to_string();
        assert!(said.contains("needs about 12582912 MiB"), "{said}");
        assert!(check(&folder.path().join("none"), 3).is_ok());
        std::fs::write(&path, "small").unwrap();
        assert!(check(&path, 3).is_ok());
    }
}
