//! Keeps the memory that is held close to the memory that is used.

/// Takes memory from the kernel by pages of the usual size.
///
/// The allocator reserves far more than it uses. With transparent huge pages, 2 MiB become resident for the first byte
/// of each: twice as much as everything else together. A kernel that has none refuses, and nothing is lost.
pub(super) fn in_small_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
