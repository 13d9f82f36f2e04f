//! Protobuf's wire format: a bounded cursor for reading and small functions for writing.
//! What the bytes mean is the business of `shape`, `json` and `request`.
//! Source: protobuf.dev/programming-guides/encoding.

/// Deepest nesting of messages and groups, as prost has it.
pub(crate) const NESTING_MAX: u32 = 100;

/// The bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

/// How a value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireType {
    Varint,
    Fixed64,
    Len,
    Fixed32,
    GroupStart,
    GroupEnd,
}

/// Reads values one after another; never past the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    pub(crate) fn at(bytes: &'a [u8], pos: usize) -> Self {
        Self { bytes, pos }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.bytes.get(self.pos) else {
                return Err(Malformed("truncated varint"));
            };
            self.pos += 1;
            if shift == 63 && byte > 1 {
                return Err(Malformed("varint of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("varint of more than 64 bits"))
    }

    /// Field number and wire type of the value that follows.
    pub(crate) fn tag(&mut self) -> Result<(u32, WireType), Malformed> {
        let key =
            u32::try_from(self.varint()?).map_err(|_| Malformed("field number out of range"))?;
        let wire = match key & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Len,
            3 => WireType::GroupStart,
            4 => WireType::GroupEnd,
            5 => WireType::Fixed32,
            _ => return Err(Malformed("unknown wire type")),
        };
        if key >> 3 == 0 {
            return Err(Malformed("field number 0"));
        }
        Ok((key >> 3, wire))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let slice = self
            .pos
            .checked_add(count)
            .and_then(|end| self.bytes.get(self.pos..end))
            .ok_or(Malformed("truncated value"))?;
        self.pos += count;
        Ok(slice)
    }

    pub(crate) fn len_delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed("length out of range"))?;
        self.take(len)
    }

    pub(crate) fn fixed32(&mut self) -> Result<u32, Malformed> {
        let raw = self.take(4)?;
        raw.try_into().map(u32::from_le_bytes).map_err(|_| Malformed("truncated value"))
    }

    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        let raw = self.take(8)?;
        raw.try_into().map(u64::from_le_bytes).map_err(|_| Malformed("truncated value"))
    }

    /// Passes over one value, whatever it is.
    pub(crate) fn skip(&mut self, number: u32, wire: WireType) -> Result<(), Malformed> {
        match wire {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.take(8).map(drop),
            WireType::Len => self.len_delimited().map(drop),
            WireType::Fixed32 => self.take(4).map(drop),
            WireType::GroupStart => self.skip_group(number, NESTING_MAX),
            WireType::GroupEnd => Err(Malformed("end of a group that was not open")),
        }
    }

    fn skip_group(&mut self, open: u32, depth: u32) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed("nested too deep"))?;
        loop {
            match self.tag()? {
                (number, WireType::GroupEnd) if number == open => return Ok(()),
                (number, WireType::GroupStart) => self.skip_group(number, depth)?,
                (number, wire) => self.skip(number, wire)?,
            }
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(((value & 0x7f) | 0x80) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, wire: WireType) {
    let wire = match wire {
        WireType::Varint => 0,
        WireType::Fixed64 => 1,
        WireType::Len => 2,
        WireType::GroupStart => 3,
        WireType::GroupEnd => 4,
        WireType::Fixed32 => 5,
    };
    put_varint(out, (u64::from(number) << 3) | wire);
}

/// Tag, length and bytes of a length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, WireType::Len);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Puts the length of everything written since `start` in front of it.
pub(crate) fn close_len(out: &mut Vec<u8>, start: usize) {
    let mut len = Vec::with_capacity(5);
    put_varint(&mut len, (out.len() - start) as u64);
    out.splice(start..start, len);
}

/// Zigzag form of `sint32` and `sint64`.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_taken(value in any::<u64>(), number in 1..1u32 << 29) {
            let mut out = Vec::new();
            put_tag(&mut out, number, WireType::Varint);
            put_varint(&mut out, value);
            put_bytes(&mut out, 1, b"abc");
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.tag().unwrap(), (number, WireType::Varint));
            prop_assert_eq!(cursor.varint().unwrap(), value);
            prop_assert_eq!(cursor.tag().unwrap(), (1, WireType::Len));
            prop_assert_eq!(cursor.len_delimited().unwrap(), b"abc");
            prop_assert!(cursor.is_empty());
            prop_assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
        }
    }

    #[test]
    fn more_than_64_bits_and_broken_groups_are_refused() {
        let read = |bytes: &[u8]| Cursor::new(bytes).varint();
        assert_eq!(read(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), Ok(u64::MAX));
        assert!(read(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]).is_err());
        assert!(read(&[128; 11]).is_err() && read(&[128]).is_err() && read(&[]).is_err());
        let skip = |bytes: &[u8]| Cursor::new(bytes).skip(2, WireType::GroupStart);
        assert_eq!(skip(&[8, 1, 20]), Ok(()), "a value, then the end of group 2");
        assert!(skip(&[8, 1, 28]).is_err(), "the end of another group");
        assert!(skip(&[19; 200]).is_err(), "nested too deep");
        assert!(skip(&[8, 1]).is_err(), "no end");
    }
}
