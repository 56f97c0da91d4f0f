//! Where records of TLS begin and end.

/// Bytes of a header: kind, version, and a `u16` big-endian length
/// ([RFC 8446, 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)).
const HEADER: u8 = 5;

/// Passes over the records of a stream, however it is cut.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Bytes of the header so far.
    seen: u8,
    /// The last two of them.
    length: u16,
    /// What is missing of the body.
    left: usize,
}

impl Records {
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let body = bytes.len().min(self.left);
            self.left -= body;
            let Some((byte, rest)) = bytes.get(body..).and_then(<[u8]>::split_first) else {
                return;
            };
            bytes = rest;
            self.length = self.length << 8 | u16::from(*byte);
            self.seen += 1;
            if self.seen == HEADER {
                (self.seen, self.left) = (0, self.length.into());
            }
        }
    }

    /// Whether the stream stands between two records.
    pub(super) const fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Records;

    #[test]
    fn the_stream_is_between_records_where_one_has_ended_however_it_is_cut() {
        let record = |length: u16| {
            let body = vec![0x17; length.into()];
            [&[23, 3, 3][..], &length.to_be_bytes(), &body].concat()
        };
        let lengths = [1, 0, 300, 2];
        let stream = lengths.map(record).concat();
        let ends = lengths.iter().scan(0, |end, length| {
            *end += 5 + usize::from(*length);
            Some(*end)
        });
        let ends: Vec<_> = [0].into_iter().chain(ends).collect();
        for cut in 0..=stream.len() {
            let (before, after) = stream.split_at(cut);
            let mut records = Records::default();
            records.pass(before);
            assert_eq!(records.is_between(), ends.contains(&cut), "at {cut}");
            records.pass(after);
            assert!(records.is_between(), "cut at {cut}");
        }
    }
}
