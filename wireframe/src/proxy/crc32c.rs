//! The checksum of headers: CRC32c, as in RFC 4960, appendix B.

/// The polynomial, its lowest bit first.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Bit by bit: a header is short, and there is one for each connection.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum: u32, _| match sum & 1 {
            0 => sum >> 1,
            _ => sum >> 1 ^ POLYNOMIAL,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_standards() {
        // The check value of the catalogue of CRCs, and those of RFC 3720, B.4.
        let digits = b"123456789".iter().copied();
        assert_eq!(crc32c(digits), 0xE306_9283);
        assert_eq!(crc32c([0; 32].into_iter()), 0x8A91_36AA);
        assert_eq!(crc32c([0xFF; 32].into_iter()), 0x62A8_AB43);
        assert_eq!(crc32c(0..32), 0x46DD_794E);
    }
}
