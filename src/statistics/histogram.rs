//! A histogram whose range need not be known before: bins are a power of two wide and begin at multiples of their width, so that
//! two of them make one of the next width. What comes out does not depend on the order of the numbers.

/// Most bins; at least half of them are in use where the numbers are spread that far.
const BINS: usize = 64;
/// The narrowest bins are 2 to this power wide: their inverse is still a number.
const NARROWEST: i32 = -1022;
/// Bits of a number behind its first.
const FRACTION: i32 = 52;

/// How many numbers lie where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// Bins are 2 to this power wide.
    power: i32,
    /// The first bin begins at this multiple of their width.
    first: i64,
    /// How many numbers lie in each; none before the first number.
    bins: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { power: NARROWEST, first: 0, bins: Vec::new() }
    }
}

impl Histogram {
    /// How many numbers lie in each bin: of those at its lower edge or above it and below its upper edge.
    pub fn counts(&self) -> &[u64] {
        &self.bins
    }

    /// Width of a bin.
    pub fn width(&self) -> f64 {
        2f64.powi(self.power)
    }

    /// The lower edge of the first bin.
    pub fn start(&self) -> f64 {
        self.first as f64 * self.width()
    }

    /// Take a finite number in.
    pub(super) fn add(&mut self, number: f64) {
        // A bin is no narrower than the last bit of the number, so that its index is a whole number that f64 holds.
        let finest = exponent(number) - FRACTION;
        if finest > self.power {
            self.widen(finest);
        }
        let mut at = self.index(number);
        if self.bins.is_empty() {
            (self.first, self.bins) = (at, vec![1]);
            return;
        }
        loop {
            let last = self.first + self.bins.len() as i64 - 1;
            let (from, to) = (self.first.min(at), last.max(at));
            if to - from < BINS as i64 {
                let before = (self.first - from) as usize;
                self.bins.splice(0..0, std::iter::repeat_n(0, before));
                self.bins.resize((to - from + 1) as usize, 0);
                self.first = from;
                break;
            }
            self.widen(self.power + 1);
            at = self.index(number);
        }
        if let Some(bin) = self.bins.get_mut((at - self.first) as usize) {
            *bin += 1;
        }
    }

    /// Which bin a number lies in. Multiplying by a power of two is exact, unless what is lost lies within the bin.
    fn index(&self, number: f64) -> i64 {
        (number * 2f64.powi(-self.power)).floor() as i64
    }

    /// Join bins until they are 2 to this power wide.
    fn widen(&mut self, power: i32) {
        let steps = power - self.power;
        self.power = power;
        if self.bins.is_empty() {
            return;
        }
        let joined = |at: i64| if steps < 63 { at >> steps } else { at >> 63 };
        let first = joined(self.first);
        let last = joined(self.first + self.bins.len() as i64 - 1);
        let mut bins = vec![0; (last - first + 1) as usize];
        for (at, count) in (self.first..).zip(&self.bins) {
            if let Some(bin) = bins.get_mut((joined(at) - first) as usize) {
                *bin += count;
            }
        }
        (self.first, self.bins) = (first, bins);
    }

    /// The counts in so many columns, each the sum of as many bins as any other, but for the last.
    pub fn columns(&self, columns: usize) -> Vec<u64> {
        let each = self.bins.len().div_ceil(columns.max(1)).max(1);
        self.bins.chunks(each).map(|bins| bins.iter().sum()).collect()
    }
}

/// The power of two that a number is at least; that of the smallest normal number of zero and what is below it.
fn exponent(number: f64) -> i32 {
    let bits = (number.to_bits() >> FRACTION) & 0x7ff;
    (bits as i32 - 1023).max(NARROWEST)
}
