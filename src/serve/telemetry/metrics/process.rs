//! The resources that this process uses, as the kernel reports them.

use std::fs;

/// The unit of times in `/proc/self/stat`: always 100 per second towards programs (`proc_pid_stat(5)`, `USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The resources that this process uses. A field is empty if the kernel's report was not readable.
#[derive(Debug, Default)]
pub(crate) struct ProcessUsage {
    pub cpu_seconds: Option<f64>,
    pub resident_bytes: Option<u64>,
    pub open_files: Option<usize>,
    pub open_files_limit: Option<u64>,
}

impl ProcessUsage {
    /// Reads the current figures. The kernel makes them in memory, so this waits for no disk.
    pub(crate) fn read() -> Self {
        let report = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        Self {
            cpu_seconds: report("stat").as_deref().and_then(cpu_seconds),
            resident_bytes: report("status").as_deref().and_then(resident_bytes),
            // Reading the directory takes one descriptor itself.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|all| all.count().saturating_sub(1)),
            open_files_limit: report("limits").as_deref().and_then(open_files_limit),
        }
    }
}

/// Returns the user and system time. The program's name comes first and may contain anything; it ends with the last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

fn open_files_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_the_kernel_are_parsed() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1000 1 2";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(
            open_files_limit("Limit  Soft\nMax open files            1024                 4096       files"),
            Some(1024)
        );
        assert_eq!(
            (cpu_seconds(""), resident_bytes(""), open_files_limit("Max open files unlimited")),
            (None, None, None)
        );
    }
}
