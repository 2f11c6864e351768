//! Reading files that others write: never without a bound, and never waiting for a pipe that nobody writes to. Floor 1.
//!
//! A config, a secret, a key: what stands at its path may be anything, a named pipe and `/dev/zero` too.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The most that a config may hold, in bytes; 100,000 routes are less.
pub const CONFIG: u64 = 64 << 20;
/// The most that a secret, a token, a key or a list of CAs may hold, in bytes.
pub const SMALL: u64 = 4 << 20;

/// The file's content, of at most `most` bytes.
///
/// Pipes are read below `/dev` and `/proc` alone: there they are the shell's (`/dev/stdin`, `<(…)`).
///
/// # Errors
/// What the system says; [`io::ErrorKind::FileTooLarge`]; [`io::ErrorKind::InvalidInput`] for a named pipe.
pub fn file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let meta = path.metadata()?;
    if meta.file_type().is_fifo() && !path.starts_with("/dev") && !path.starts_with("/proc") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a named pipe, not a file"));
    }
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", most >> 20));
    if meta.len() > most {
        return Err(too_large());
    }
    let mut content = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most { Err(too_large()) } else { Ok(content) }
}

/// The file's text, of at most `most` bytes.
///
/// # Errors
/// As [`file()`]; [`io::ErrorKind::InvalidData`] where it is not UTF-8.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(file(path, most)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"12345678").expect("a file");
        assert_eq!(file(&path, 8).expect("it fits"), b"12345678");
        assert_eq!(file(&path, 7).expect_err("it does not").kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(file(Path::new("/dev/zero"), SMALL).expect_err("no end").kind(), io::ErrorKind::FileTooLarge);
        std::fs::write(&path, b"\xff").expect("a file");
        assert_eq!(text(&path, 8).expect_err("not text").kind(), io::ErrorKind::InvalidData);
    }
}
