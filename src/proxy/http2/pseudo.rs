//! [`PseudoHeaders`]: tells header blocks that name a pseudo-header, without decoding them (RFC 7541 §6).

/// The entries of the static table that are pseudo-headers begin at 1 and end here (appendix A).
const LAST_PSEUDO: usize = 14;
/// The first index of the dynamic table (§2.3.3).
const DYNAMIC: usize = 62;

/// Follows all header blocks of a connection, byte by byte as they come.
///
/// What is wrong with a block is for the decoder to tell, which ends the connection; here it is read no further.
#[derive(Debug, Default)]
pub(super) struct PseudoHeaders {
    /// Which entries of the dynamic table are pseudo-headers, the latest in the lowest bit. What was evicted can't be
    /// named any more, so that need not be followed; and of 4,096 bytes an entry takes 32 or more (§4.1), so that there
    /// are 128 at the most.
    inserted: u128,
    at: At,
    /// Whether the field at hand goes into the dynamic table.
    inserts: bool,
    /// Whether the field at hand is a pseudo-header.
    pseudo: bool,
    found: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a field's first byte.
    #[default]
    Field,
    /// Within a number (§5.1).
    Number { of: Number, value: usize, shift: u32 },
    /// Before a text's length, and its Huffman flag (§5.2).
    Text { name: bool },
    /// Before a name's first byte.
    Name { left: usize, huffman: bool },
    /// Within a text of which nothing is asked.
    Rest { left: usize, name: bool },
    /// Behind a fault.
    Lost,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// The index of a field.
    Field,
    /// The index of a name, or 0 where the name follows.
    Name,
    TableSize,
    Length {
        name: bool,
        huffman: bool,
    },
}

impl PseudoHeaders {
    /// A block begins.
    pub(super) fn begin(&mut self) {
        self.at = At::Field;
        self.found = false;
    }

    /// Whether the block so far has a pseudo-header.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// The block goes on.
    pub(super) fn look(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let At::Rest { left, name } = self.at {
                let skip = left.min(bytes.len());
                bytes = &bytes[skip..];
                self.text_goes_on(left - skip, name);
                continue;
            }
            bytes = rest;
            match self.at {
                At::Field => self.field(byte),
                At::Number { of, value, shift } => {
                    let value = value + (usize::from(byte & 0x7f) << shift);
                    if byte & 0x80 == 0 {
                        self.number(of, value);
                    } else if shift == 21 {
                        self.at = At::Lost;
                    } else {
                        self.at = At::Number { of, value, shift: shift + 7 };
                    }
                }
                At::Text { name } => self.prefix(byte, 7, Number::Length { name, huffman: byte & 0x80 != 0 }),
                At::Name { left, huffman } => {
                    // A colon, and the seven bits of its code (appendix B).
                    self.pseudo = if huffman { byte >> 1 == 0x5c } else { byte == b':' };
                    self.text_goes_on(left - 1, true);
                }
                At::Rest { .. } | At::Lost => return,
            }
        }
    }

    /// A field's first byte.
    fn field(&mut self, byte: u8) {
        self.inserts = byte & 0xc0 == 0x40;
        let (bits, of) = match byte {
            0x80.. => (7, Number::Field),
            0x40.. => (6, Number::Name),
            0x20.. => (5, Number::TableSize),
            _ => (4, Number::Name),
        };
        self.prefix(byte, bits, of);
    }

    /// A number's first byte, of which so many bits count.
    fn prefix(&mut self, byte: u8, bits: u32, of: Number) {
        let most = (1_usize << bits) - 1;
        let value = usize::from(byte) & most;
        if value == most {
            self.at = At::Number { of, value, shift: 0 };
        } else {
            self.number(of, value);
        }
    }

    /// A number is whole.
    fn number(&mut self, of: Number, value: usize) {
        match of {
            Number::Field => {
                self.found |= self.is_pseudo(value);
                self.at = At::Field;
            }
            Number::TableSize => self.at = At::Field,
            Number::Name => {
                self.pseudo = self.is_pseudo(value);
                self.at = At::Text { name: value == 0 };
            }
            Number::Length { name: true, huffman } if value > 0 => self.at = At::Name { left: value, huffman },
            Number::Length { name, .. } => self.text_goes_on(value, name),
        }
    }

    fn is_pseudo(&self, index: usize) -> bool {
        match index.checked_sub(DYNAMIC) {
            None => (1..=LAST_PSEUDO).contains(&index),
            Some(at) => at < 128 && self.inserted >> at & 1 != 0,
        }
    }

    /// So much of a text is left; behind a name comes a value, behind that the next field.
    fn text_goes_on(&mut self, left: usize, name: bool) {
        self.at = match (left, name) {
            (0, true) => At::Text { name: false },
            (0, false) => {
                self.found |= self.pseudo;
                if self.inserts {
                    self.inserted = self.inserted << 1 | u128::from(self.pseudo);
                }
                At::Field
            }
            _ => At::Rest { left, name },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each block has one, however the blocks are cut.
    fn found(blocks: &[&[u8]]) -> Vec<bool> {
        let in_pieces = |step: usize| -> Vec<bool> {
            let mut pseudo = PseudoHeaders::default();
            let look = |block: &&[u8]| {
                pseudo.begin();
                block.chunks(step).for_each(|piece| pseudo.look(piece));
                pseudo.found()
            };
            blocks.iter().map(look).collect()
        };
        let whole = in_pieces(1000);
        for step in 1..6 {
            assert_eq!(in_pieces(step), whole, "{step}");
        }
        whole
    }

    #[test]
    fn a_pseudo_header_is_found_however_it_is_written() {
        for (what, block) in [
            ("by index", &b"\x84"[..]),
            ("name by index", b"\x08\x03200"),
            ("name by index, never indexed", b"\x11\x03abc"),
            ("name by index, into the table", b"\x41\x03abc"),
            ("in full", b"\x00\x05:path\x01/"),
            ("in Huffman code", b"\x00\x84\xb9\x58\xd3\x3f\x01/"),
            ("behind others", b"\x3f\xe1\x1f\x00\x01x\x01y\x0f\x2f\x00\x10\x01x\x00\x84"),
        ] {
            assert_eq!(found(&[block]), [true], "{what}");
        }
        let long = [&b"\x00\x7f\x81\x01"[..], &[b'x'; 256], b"\x00\x84"].concat();
        assert_eq!(found(&[&long]), [true]);
        for block in [
            &b""[..],
            b"\x90\xbd",
            b"\x00\x01x\x05:path",
            b"\x20",
            b"\x00\x00\x00",
            b"\x7f\xff\xff\xff\xff\xff\x84",
            b"\x00",
        ] {
            assert_eq!(found(&[block]), [false], "{block:?}");
        }
    }

    #[test]
    fn the_dynamic_table_is_followed() {
        let head: &[u8] = b"\x41\x03abc\x40\x01x\x01y";
        // The latest is x, and before it :authority.
        assert_eq!(
            found(&[head, b"\xbe", b"\xbf", b"\x0f\x30\x01z", b"\x0f\x2f\x01z"]),
            [true, false, true, true, false]
        );
        // The table's last entry, and what is none.
        let more = b"\x40\x01x\x01y".repeat(126);
        assert_eq!(found(&[head, &more, b"\xff\x00", b"\xff\x3e", b"\xff\x3f"]), [true, false, false, true, false]);
    }
}
