//! The lines of a file or of standard input, plain or gzip.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::progress::Progress;

/// The longest line that is read: Apache's own limits, with every byte of the request and two header fields escaped,
/// come to 98 kB.
const LONGEST_LINE: usize = 128 * 1024;

/// The first bytes of a gzip file (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens `path`, or standard input if it is `-`, and tells gzip by its first bytes.
pub(crate) fn open(path: &Path) -> Result<Lines, String> {
    let in_path = |error: io::Error| format!("{}: {error}", path.display());
    let (raw, length): (Box<dyn Read>, _) = if path == Path::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(path).map_err(in_path)?;
        let length = file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
        (Box::new(file), length)
    };
    let raw = Progress::of_bytes("reading", length).wrap(raw);
    Lines::new(raw, path.display().to_string()).map_err(in_path)
}

/// Lines of bytes.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    name: String,
    line: Vec<u8>,
}

/// One line, as far as it was read.
pub(crate) enum Line<'a> {
    /// With its end, if it has one.
    Whole(&'a [u8]),
    TooLong,
}

impl Lines {
    fn new(mut raw: impl Read + 'static, name: String) -> io::Result<Self> {
        let mut start = Vec::new();
        raw.by_ref().take(GZIP.len() as u64).read_to_end(&mut start)?;
        let is_gzip = start == GZIP;
        let whole = BufReader::with_capacity(64 * 1024, Cursor::new(start).chain(raw));
        // More than one member: what logrotate's compressed files become when they are concatenated.
        let reader: Box<dyn BufRead> =
            if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(whole))) } else { Box::new(whole) };
        Ok(Self { reader, name, line: Vec::new() })
    }

    /// The next line, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, String> {
        let Self { reader, name, line } = self;
        read_line(reader, line).map_err(|error| format!("{name}: {error}"))
    }
}

fn read_line<'a>(reader: &mut dyn BufRead, line: &'a mut Vec<u8>) -> io::Result<Option<Line<'a>>> {
    line.clear();
    let mut bounded = reader.take(LONGEST_LINE as u64);
    if bounded.read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.len() == LONGEST_LINE && line.last() != Some(&b'\n') {
        reader.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(Line::Whole(line)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Gives one byte at a time, as a pipe may.
    struct Trickle(Cursor<Vec<u8>>);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    /// The lengths of the lines; `None` for one that is too long.
    fn lengths(bytes: Vec<u8>) -> Result<Vec<Option<usize>>, String> {
        let mut lines = Lines::new(Trickle(Cursor::new(bytes)), "test".into()).unwrap();
        let mut lengths = Vec::new();
        while let Some(line) = lines.next()? {
            lengths.push(match line {
                Line::Whole(line) => Some(line.len()),
                Line::TooLong => None,
            });
        }
        Ok(lengths)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzip_read_alike() {
        for bytes in [&b""[..], b"\n", b"a", b"ab\n", b"ab\r\n\ncde", b"\x1f", b"\x1f\n\x8b"] {
            assert_eq!(lengths(bytes.into()), lengths(gzip(bytes)), "{bytes:?}");
        }
        assert_eq!(lengths(b"ab\r\n\ncde".into()), Ok(vec![Some(4), Some(1), Some(3)]));
    }

    #[test]
    fn concatenated_gzip_files_are_read_to_the_end() {
        let both = [gzip(b"one\n"), gzip(b"three\n")].concat();
        assert_eq!(lengths(both), Ok(vec![Some(4), Some(6)]));
    }

    #[test]
    fn broken_gzip_is_an_error() {
        let whole = gzip(b"a line of some length\n");
        assert!(lengths(whole[..whole.len() - 9].into()).is_err());
        assert!(lengths(GZIP.into()).is_err());
    }

    #[test]
    fn a_long_line_does_not_hide_the_next() {
        for (length, read) in [(LONGEST_LINE - 1, Some(LONGEST_LINE)), (LONGEST_LINE, None), (3 * LONGEST_LINE, None)] {
            let bytes = [&vec![b'x'; length][..], b"\nnext\n"].concat();
            assert_eq!(lengths(bytes), Ok(vec![read, Some(5)]));
        }
    }
}
