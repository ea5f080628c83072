//! The name of this host.

/// Reads the name that the kernel knows, or the shell's; nothing if neither is known.
pub(super) fn read() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME")).ok()?;
    Some(name.trim().to_owned())
}
