//! CRC-32 (IEEE 802.3), eight bytes a step.

const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut index = 0;
    while index < 256 {
        #[allow(clippy::cast_possible_truncation)] // below 256
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xEDB8_8320 ^ (value >> 1)
            } else {
                value >> 1
            };
            bit += 1;
        }
        tables[0][index] = value;
        index += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut index = 0;
        while index < 256 {
            let before = tables[table - 1][index];
            tables[table][index] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            index += 1;
        }
        table += 1;
    }
    tables
}

/// The checksum of what `crc` is the checksum of, followed by `bytes`. Start with 0.
pub fn extend(crc: u32, bytes: &[u8]) -> u32 {
    let mut state = !crc;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let low = state ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        state = TABLES[7][(low & 0xFF) as usize]
            ^ TABLES[6][(low >> 8 & 0xFF) as usize]
            ^ TABLES[5][(low >> 16 & 0xFF) as usize]
            ^ TABLES[4][(low >> 24) as usize]
            ^ TABLES[3][usize::from(word[4])]
            ^ TABLES[2][usize::from(word[5])]
            ^ TABLES[1][usize::from(word[6])]
            ^ TABLES[0][usize::from(word[7])];
    }
    for byte in words.remainder() {
        state = TABLES[0][((state ^ u32::from(*byte)) & 0xFF) as usize] ^ (state >> 8);
    }
    !state
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn gives_the_published_check_value() {
        assert_eq!(super::extend(0, b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn parts_give_what_the_whole_gives(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(super::extend(super::extend(0, head), tail), super::extend(0, &bytes));
        }
    }
}
