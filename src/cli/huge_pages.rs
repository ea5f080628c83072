//! Keeps the resident memory close to the memory that is used.

/// Makes the kernel give this process pages of the usual size.
///
/// The allocator reserves far more than it uses. With transparent huge pages, 2 MiB become resident for the first byte
/// of each: twice as much as everything else together. A kernel without huge pages rejects the call, which is harmless.
pub(super) fn disable() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
