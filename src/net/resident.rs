//! What this process keeps in memory of its program's files. The one room with `unsafe` code.
#![expect(unsafe_code, reason = "madvise(2) has no safe form")]

use std::ffi::c_void;
use std::fs;
use std::ops::Range;
use std::ptr::with_exposed_provenance_mut;

use rustix::mm::{Advice, madvise};

/// Lets go of the program's own pages and its libraries', as far as they are as on disk: whatever runs next reads in what
/// it needs, from the system's cache. A start, a reload and an order run through much that is not needed again for long,
/// about half of what a process at rest has in memory.
pub fn let_go_of_code() {
    let Ok(mappings) = fs::read_to_string("/proc/self/smaps") else { return };
    for range in unchanged(&mappings) {
        let start = with_exposed_provenance_mut::<c_void>(range.start);
        // SAFETY: these are mappings of this process that nobody can write to and nobody has written to, private and of
        // files. So each page has its file's bytes, and whoever reads one after this gets the same bytes again
        // (madvise(2), MADV_DONTNEED); the kernel does no other when memory runs short. Should the mapping be gone by
        // now, which nothing here unmaps, that is an error.
        let _ = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
    }
}

/// The mappings in the text of `/proc/PID/smaps` (proc_pid_smaps(5)) that are private, of a file, and not written to.
fn unchanged(mappings: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut current = None;
    for line in mappings.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.nth(3)) {
            (Some("Anonymous:"), Some("0"), _) => found.extend(current.take()),
            (Some(key), ..) if key.ends_with(':') => {}
            (Some(range), Some("r-xp" | "r--p"), Some(path)) if path.starts_with('/') => current = addresses(range),
            _ => current = None,
        }
    }
    found
}

fn addresses(range: &str) -> Option<Range<usize>> {
    let (start, end) = range.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_its_file_is_let_go_of() {
        let mapping =
            |head: &str, anonymous: u32| format!("{head}\nSize: 8 kB\nAnonymous: {anonymous} kB\nVmFlags: rd\n");
        let mappings = [
            mapping("1000-3000 r--p 00000000 fe:00 7 /usr/bin/doorward", 0),
            mapping("3000-4000 r-xp 00002000 fe:00 7 /usr/bin/doorward", 0),
            mapping("4000-5000 r--p 00003000 fe:00 7 /usr/bin/doorward", 4),
            mapping("5000-6000 rw-p 00004000 fe:00 7 /usr/bin/doorward", 0),
            mapping("6000-7000 r--s 00004000 fe:00 7 /usr/bin/doorward", 0),
            mapping("7000-8000 r--p 00000000 00:00 0", 0),
            mapping("8000-9000 r-xp 00000000 00:00 0 [vdso]", 0),
        ];
        assert_eq!(unchanged(&mappings.concat()), [0x1000..0x3000, 0x3000..0x4000]);
    }

    #[test]
    fn the_program_goes_on_with_less_in_memory() {
        let of_files = || {
            let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("it is there").to_owned();
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
        };
        let before = of_files();
        let_go_of_code();
        let after = of_files();
        assert!(after < before, "{after} KiB of {before}");
    }
}
