//! Where the axes of a tensor are in MLX.
//!
//! torch's convolutions, pools and norms over channels have `(N, C, H, W)`, MLX's `(N, H, W, C)`: behind one of them an axis that
//! the code counts is another there. A [`Layout`] says which.

/// Axes of a tensor that are told apart.
pub(crate) const MOST: usize = 8;

/// Where the axes of a tensor are in MLX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Where torch has them; and how many there are, where that is known.
    Torch(Option<u8>),
    /// Channels last.
    Last(Last),
}

/// Channels behind the places: torch's `(lead…, channels…, places…)` is `(lead…, places…, channels…)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Last {
    /// How many axes there are, where that is known.
    pub rank: Option<u8>,
    /// Axes in front of the channels: the batch.
    pub lead: u8,
    /// Axes that the channels make: one, or several after `view(b, groups, c // groups, h, w)`.
    pub channels: u8,
    /// Every axis of places has the length 1.
    pub one: bool,
    /// How many channels there are, where a convolution of the same method says it.
    pub width: Option<u32>,
}

/// Which axes a length is the product of: bits for the batch, the channels, and each axis of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent(pub u8);

impl Extent {
    /// The number of channels.
    pub const CHANNELS: Extent = Extent(2);

    /// The length of an axis of torch's `(N, C, places…)`.
    pub fn of(axis: usize) -> Extent {
        Extent(1u8.checked_shl(u32::try_from(axis).unwrap_or(u32::MAX)).unwrap_or(0))
    }

    /// All axes of places of so many axes.
    pub fn places(rank: usize) -> Extent {
        Extent((2..rank.min(MOST)).fold(0, |bits, axis| bits | Extent::of(axis).0))
    }

    /// Whether it is of axes of places alone.
    pub fn is_places(self) -> bool {
        self.0 != 0 && self.0 & 3 == 0
    }

    /// The product of two, where they have no axis in common.
    pub fn times(self, other: Extent) -> Option<Extent> {
        (self.0 & other.0 == 0).then_some(Extent(self.0 | other.0))
    }
}

impl Layout {
    /// What a convolution gives, for an input of so many axes.
    pub fn last(rank: Option<usize>) -> Layout {
        Last { rank: rank.and_then(|rank| u8::try_from(rank).ok()), lead: 1, channels: 1, one: false, width: None }
            .layout()
    }

    /// As torch has it, with so many axes.
    pub fn torch(rank: usize) -> Layout {
        Layout::Torch(u8::try_from(rank).ok().filter(|rank| usize::from(*rank) <= MOST))
    }

    /// How many axes there are.
    pub fn rank(self) -> Option<usize> {
        let (Layout::Torch(rank) | Layout::Last(Last { rank, .. })) = self;
        rank.map(usize::from)
    }

    /// The same with any number of channels.
    #[must_use]
    pub fn of_any_width(self) -> Layout {
        match self {
            Layout::Last(last) => Layout::Last(Last { width: None, ..last }),
            torch => torch,
        }
    }

    /// What is known where it is either of two.
    pub fn or(self, other: Layout) -> Option<Layout> {
        match (self, other) {
            _ if self == other => Some(self),
            (Layout::Torch(_), Layout::Torch(_)) => Some(Layout::Torch(None)),
            (Layout::Last(a), Layout::Last(b)) if (a.lead, a.channels) == (b.lead, b.channels) => {
                let rank = a.rank.filter(|_| a.rank == b.rank);
                let width = a.width.filter(|_| a.width == b.width);
                Some(Layout::Last(Last { rank, one: a.one && b.one, width, ..a }))
            }
            _ => None,
        }
    }
}

impl Last {
    /// This layout, or torch's where that is the same.
    pub fn layout(self) -> Layout {
        match self.rank {
            _ if self.channels == 0 => Layout::Torch(self.rank),
            Some(rank) if usize::from(rank) <= self.moved() => Layout::Torch(Some(rank)),
            Some(rank) if usize::from(rank) > MOST => Layout::Torch(None),
            _ => Layout::Last(self),
        }
    }

    /// Axes of places, where it is known how many axes there are.
    pub fn places(self) -> Option<usize> {
        self.rank.map(|rank| usize::from(rank).saturating_sub(self.moved()))
    }

    /// Without these axes, each from 0 on.
    pub fn without(self, axes: &[usize]) -> Layout {
        let among = |within: &dyn Fn(usize) -> bool| axes.iter().filter(|axis| within(**axis)).count() as u8;
        let lead = self.lead.saturating_sub(among(&|axis| axis < usize::from(self.lead)));
        let channels = self.channels.saturating_sub(among(&|axis| self.is_channels(axis)));
        let rank = self.rank.map(|rank| rank.saturating_sub(axes.len() as u8));
        Last { rank, lead, channels, ..self }.layout()
    }

    /// With one more axis in front of this one; in front of the channels it is one of the batch's.
    pub fn with(self, axis: usize) -> Last {
        let mut more = Last { rank: self.rank.map(|rank| rank + 1), ..self };
        if axis <= usize::from(self.lead) {
            more.lead += 1;
        } else if axis < self.moved() {
            more.channels += 1;
        }
        more
    }

    /// Axes that are no places.
    pub fn moved(self) -> usize {
        usize::from(self.lead) + usize::from(self.channels)
    }

    /// An axis of torch as a number from 0 on, where that is known.
    pub fn axis(self, axis: i64) -> Option<usize> {
        let rank = self.rank.map(i64::from);
        let at = if axis < 0 { axis + rank? } else { axis };
        usize::try_from(at)
            .ok()
            .filter(|at| *at < MOST && rank.is_none_or(|rank| at < &usize::try_from(rank).unwrap_or(0)))
    }

    /// Whether an axis of torch, from 0 on, is of the channels.
    pub fn is_channels(self, axis: usize) -> bool {
        (usize::from(self.lead)..self.moved()).contains(&axis)
    }

    /// Whether it is one of places.
    pub fn is_place(self, axis: usize) -> bool {
        axis >= self.moved()
    }

    /// Where torch's axis is in MLX, from 0 on, or from the end where it is not known how many there are.
    pub fn to_mlx(self, axis: usize) -> i64 {
        let (lead, channels) = (usize::from(self.lead), i64::from(self.channels));
        match self.rank {
            _ if axis < lead => axis as i64,
            _ if self.is_place(axis) => axis as i64 - channels,
            Some(rank) => i64::from(rank) - channels + (axis - lead) as i64,
            None => (axis - lead) as i64 - channels,
        }
    }

    /// Where torch's axis of any sign is in MLX, as one would write it there: channels from the end.
    pub fn written(self, axis: i64) -> Option<i64> {
        if let Some(at) = self.axis(axis) {
            let there = self.to_mlx(at);
            return Some(match self.rank {
                Some(rank) if self.is_channels(at) => there - i64::from(rank),
                _ => there,
            });
        }
        // Of an axis that is counted from the end it is known that it is a place.
        (self.rank.is_none() && axis == -1).then_some(-1 - i64::from(self.channels))
    }

    /// For each axis of MLX the axis of torch that it is.
    pub fn order(self) -> Option<Vec<usize>> {
        let rank = usize::from(self.rank?);
        let lead = 0..usize::from(self.lead).min(rank);
        let channels = usize::from(self.lead).min(rank)..self.moved().min(rank);
        Some(lead.chain(self.moved().min(rank)..rank).chain(channels).collect())
    }

    /// The axes that MLX's transpose takes to have torch's order.
    pub fn to_torch(self) -> Option<Vec<usize>> {
        let rank = usize::from(self.rank?);
        (0..rank).map(|axis| usize::try_from(self.to_mlx(axis)).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn last(rank: u8, channels: u8) -> Last {
        Last { rank: Some(rank), lead: 1, channels, one: false, width: None }
    }

    #[test]
    fn an_image_has_its_channels_last() {
        let image = last(4, 1);
        assert_eq!(image.order().unwrap(), [0, 2, 3, 1]);
        assert_eq!(image.to_torch().unwrap(), [0, 3, 1, 2]);
        let written: Vec<Option<i64>> = (-4..5).map(|axis| image.written(axis)).collect();
        let expected = [Some(0), Some(-1), Some(1), Some(2), Some(0), Some(-1), Some(1), Some(2), None];
        assert_eq!(written, expected);
    }

    #[test]
    fn what_is_known_without_the_number_of_axes() {
        let some = Last { rank: None, ..last(4, 1) };
        assert_eq!((some.written(0), some.written(1), some.written(3)), (Some(0), Some(-1), Some(2)));
        assert_eq!((some.written(-1), some.written(-2)), (Some(-2), None));
        assert_eq!(some.order(), None);
    }

    #[test]
    fn groups_of_channels_stay_together() {
        let grouped = last(5, 2);
        assert_eq!(grouped.order().unwrap(), [0, 3, 4, 1, 2]);
        assert_eq!((grouped.written(1), grouped.written(2), grouped.written(-1)), (Some(-2), Some(-1), Some(2)));
    }

    #[test]
    fn without_places_there_is_nothing_to_move() {
        assert_eq!(last(2, 1).layout(), Layout::Torch(Some(2)));
        assert_eq!(last(3, 1).layout(), Layout::Last(last(3, 1)));
        assert_eq!(last(3, 1).layout().or(last(4, 1).layout()), Layout::last(None).into());
        assert_eq!(last(3, 1).layout().or(Layout::torch(3)), None);
    }

    #[test]
    fn lengths_are_products_of_axes() {
        let (high, wide) = (Extent::of(2), Extent::of(3));
        assert_eq!(high.times(wide), Some(Extent::places(4)));
        assert_eq!(high.times(high), None);
        assert!(high.is_places() && !Extent::CHANNELS.is_places() && !Extent::of(0).is_places());
    }
}
