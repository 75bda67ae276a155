//! A histogram with a bounded error: each power of two in eight buckets. Sparse, so that few samples take little room.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A power of two has 2^this many buckets: a bucket is at most an eighth as wide as what is in it.
const FINE: u32 = 3;
/// One more than the last bucket's number.
const BUCKETS: u16 = ((64 - FINE as u16) + 1) << FINE;

/// How often which value was seen, to an eighth of the value. Written as pairs of a bucket's number and its count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// In the order of their numbers, none empty.
    buckets: Vec<(u16, u64)>,
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.add(bucket(value), 1);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The value that a part of all values (0.5: half of them) does not exceed, to a sixteenth of it; `None`: there are
    /// none.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let count = self.count();
        // Counts beyond what an f64 holds exactly are far off.
        let rank = (part.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        let found = self.buckets.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        found.or(self.buckets.last()).map(|(bucket, _)| middle(*bucket))
    }

    fn add(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(own, _)| *own) {
            Ok(at) => {
                if let Some((_, own)) = self.buckets.get_mut(at) {
                    *own = own.saturating_add(count);
                }
            }
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }
}

/// Values below eight have a bucket each; from there on the leading four bits say which.
fn bucket(value: u64) -> u16 {
    let power = value.checked_ilog2().unwrap_or(0);
    if power < FINE {
        return u16::try_from(value).unwrap_or(0);
    }
    let within = (value >> (power - FINE)) & ((1 << FINE) - 1);
    u16::try_from((u64::from(power - FINE + 1) << FINE) | within).unwrap_or(u16::MAX)
}

fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let Some(shift) = (bucket >> FINE).checked_sub(1) else { return bucket };
    let lowest = ((1 << FINE) | (bucket & ((1 << FINE) - 1))) << shift;
    lowest + (1 << shift) / 2
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.buckets.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut histogram = Self::default();
        for (bucket, count) in <Vec<(u16, u64)>>::deserialize(deserializer)? {
            if bucket >= BUCKETS {
                return Err(D::Error::custom(format_args!("a histogram has no bucket {bucket}")));
            }
            if count > 0 {
                histogram.add(bucket, count);
            }
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_found_again_to_a_sixteenth(value: u64) {
            let mut histogram = Histogram::default();
            histogram.record(value);
            let found = histogram.quantile(0.5).unwrap();
            prop_assert!(found.abs_diff(value) <= value / 16 + 1, "{value}: {found}");
            prop_assert!(bucket(value) < BUCKETS);
        }

        #[test]
        fn two_merged_are_as_one_that_saw_all(one: Vec<u32>, other: Vec<u32>) {
            let of = |values: &[u32]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|value| histogram.record(u64::from(*value)));
                histogram
            };
            let mut merged = of(&one);
            merged.merge(&of(&other));
            let all = of(&[one, other].concat());
            prop_assert_eq!(&merged, &all);
            let text = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), all);
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let numbers: Vec<u16> = (0..4_096).map(bucket).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
        assert_eq!(bucket(u64::MAX) + 1, BUCKETS);
        assert!((0..BUCKETS).all(|number| bucket(middle(number)) == number));
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1_000).for_each(|value| histogram.record(value));
        for (part, value) in [(0.0, 1_u64), (0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1_000), (7.0, 1_000)] {
            let found = histogram.quantile(part).unwrap();
            assert!(found.abs_diff(value) <= value / 16 + 1, "{part}: {found}");
        }
        assert_eq!(serde_json::from_str::<Histogram>("[[3,2],[3,1]]").unwrap().count(), 3);
        assert!(serde_json::from_str::<Histogram>("[[60000,2]]").is_err());
    }
}
