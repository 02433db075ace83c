//! Tables whose keys are addresses.
//!
//! An attacker who chooses addresses could do worse than slow a table down, so no keyed hash is needed.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A hash table whose keys are pointers, or words that hold one.
pub type AddressMap<K, V> = HashMap<K, V, BuildHasherDefault<AddressHasher>>;

/// A set of pointers.
pub type AddressSet<K> = HashSet<K, BuildHasherDefault<AddressHasher>>;

/// Hashes one word.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    #[inline]
    fn write_usize(&mut self, address: usize) {
        // The table takes its index from the low bits and its tags from the high ones; the lowest four bits of an
        // object's address are the same for all. The factor is 2^64 over the golden ratio (Knuth, volume 3, 6.4).
        let product = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(self.0 as usize ^ usize::from(byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_addresses_differ_in_the_low_bits_and_in_the_high_ones() {
        let hash = |address: usize| {
            let mut hasher = AddressHasher::default();
            hasher.write_usize(address);
            hasher.finish()
        };
        let hashes: Vec<u64> = (0..1024).map(|object| hash(0x7F00_0000_0000 + object * 64)).collect();
        for slots in
            [hashes.iter().map(|hash| hash & 1023).collect::<Vec<_>>(), hashes.iter().map(|hash| hash >> 57).collect()]
        {
            let distinct: HashSet<_> = slots.iter().collect();
            assert!(distinct.len() > if slots.iter().all(|slot| *slot < 128) { 120 } else { 500 });
        }
    }
}
