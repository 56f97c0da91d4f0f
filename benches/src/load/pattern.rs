//! Payloads that tell connections and requests apart, so that a frame which went astray
//! cannot pass for the one expected.

/// Appends the payload of a request.
pub(crate) fn put(out: &mut Vec<u8>, connection: u32, sequence: u64, size: u32) {
    let seed = mix(sequence ^ (u64::from(connection) << 40));
    let size = size as usize;
    let end = out.len() + size;
    out.reserve(size + 8);
    let mut word = 0;
    while out.len() < end {
        out.extend_from_slice(&mix(seed.wrapping_add(word)).to_be_bytes());
        word += 1;
    }
    out.truncate(end);
}

/// The correlation id of a request.
pub(crate) fn correlation(connection: u32, sequence: u64) -> u64 {
    u64::from(connection) << 40 | (sequence & 0xff_ffff_ffff)
}

/// The finaliser of splitmix64: every bit of the input moves half of the output's.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::{correlation, put};

    fn pattern(connection: u32, sequence: u64, size: u32) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, connection, sequence, size);
        out
    }

    #[test]
    fn a_payload_has_the_size_asked_for() {
        for size in 0..40 {
            assert_eq!(pattern(1, 2, size).len(), size as usize);
        }
    }

    #[test]
    fn payloads_differ_between_connections_and_requests() {
        assert_ne!(pattern(1, 0, 8), pattern(2, 0, 8));
        assert_ne!(pattern(1, 0, 8), pattern(1, 1, 8));
        assert_ne!(correlation(1, 0), correlation(2, 0));
    }
}
