//! Sums as MLX has them on a CPU: one term after the other, in float32. Where the last axes are among those that are added up, each
//! run of numbers that lie side by side is added up first, and then the runs.

/// Places of a tensor's elements that are added up together.
pub(super) struct Groups {
    places: Vec<Vec<usize>>,
    /// How many lie side by side.
    run: usize,
}

/// The numbers of one group.
#[derive(Clone)]
pub(super) struct Group {
    values: Vec<f32>,
    run: usize,
}

impl Group {
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        self.values.iter().copied()
    }

    pub fn map(&self, function: impl Fn(f32) -> f32) -> Group {
        Group { values: self.values().map(function).collect(), run: self.run }
    }
}

impl Groups {
    /// Along these axes.
    pub fn along(shape: &[usize], axes: &[usize]) -> Option<Groups> {
        let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let count = kept.iter().map(|axis| shape.get(*axis).copied().unwrap_or(1)).product();
        let mut places = vec![Vec::new(); count];
        let mut index = vec![0; shape.len()];
        for at in 0..shape.iter().product() {
            let group = kept.iter().fold(0, |group, axis| group * shape[*axis] + index[*axis]);
            places.get_mut(group)?.push(at);
            advance(&mut index, shape);
        }
        let run = (0..shape.len()).rev().take_while(|axis| axes.contains(axis)).map(|axis| shape[axis]).product();
        Some(Groups { places, run })
    }

    /// So many of equal size, one after the other.
    pub fn chunks(elements: usize, count: usize) -> Option<Groups> {
        let size = elements.checked_div(count)?;
        let places = (0..count).map(|at| (at * size..(at + 1) * size).collect()).collect();
        Some(Groups { places, run: size })
    }

    /// The windows of a pool over the last axes, without what lies beyond the edges.
    pub fn windows(shape: &[usize], kernel: &[i64], stride: &[i64], padding: &[i64]) -> Option<Groups> {
        let leading = shape.len().checked_sub(kernel.len())?;
        let (before, behind) = shape.split_at(leading);
        let mut ranges: Vec<Vec<(usize, usize)>> = Vec::new();
        for (axis, &length) in behind.iter().enumerate() {
            let (kernel, stride, padding) = (*kernel.get(axis)?, *stride.get(axis)?, *padding.get(axis)?);
            let length = length as i64;
            let count = (length + 2 * padding - kernel).checked_div(stride)? + 1;
            let starts = (0..count).map(|at| at * stride - padding);
            let inside = |place: i64| place.clamp(0, length) as usize;
            ranges.push(starts.map(|start| (inside(start), inside(start + kernel))).collect());
        }
        let counts: Vec<usize> = ranges.iter().map(Vec::len).collect();
        let mut places = Vec::new();
        for outer in 0..before.iter().product() {
            let mut window = vec![0; counts.len()];
            for _ in 0..counts.iter().product() {
                let mut group = vec![outer];
                for (axis, &length) in behind.iter().enumerate() {
                    let (start, stop) = *ranges.get(axis)?.get(*window.get(axis)?)?;
                    group = group.iter().flat_map(|base| (start..stop).map(move |at| base * length + at)).collect();
                }
                places.push(group);
                advance(&mut window, &counts);
            }
        }
        Some(Groups { places, run: usize::MAX })
    }

    /// The places of each group, in order.
    pub fn places(&self) -> impl Iterator<Item = &[usize]> {
        self.places.iter().map(Vec::as_slice)
    }

    /// The numbers of each group.
    pub fn of<'a>(&'a self, x: &'a [f32]) -> impl Iterator<Item = Group> + 'a {
        let value = |at: &usize| x.get(*at).copied().unwrap_or(f32::NAN);
        self.places.iter().map(move |places| Group { values: places.iter().map(value).collect(), run: self.run })
    }
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (at, size) in index.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < *size {
            return;
        }
        *at = 0;
    }
}

pub(super) fn sum(group: Group) -> f32 {
    if group.run <= 1 {
        return group.values().fold(0.0, |sum, x| sum + x);
    }
    group
        .values
        .chunks(group.run)
        .map(|run| run.iter().fold(0.0, |sum, x| sum + x))
        .fold(0.0, |sum: f32, run: f32| sum + run)
}

pub(super) fn mean(group: Group) -> f32 {
    let count = group.values.len() as f32;
    sum(group) * (1.0 / count)
}

/// Divided by the count less `correction`.
pub(super) fn variance(group: Group, correction: f32) -> f32 {
    let mean = mean(group.clone());
    let count = group.values.len() as f32 - correction;
    sum(group.map(|x| (x - mean) * (x - mean))) * (1.0 / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_lie_side_by_side_are_added_up_first() {
        let big = 2f32.powi(24);
        let along = |axes: &[usize], x: &[f32]| -> Option<Vec<f32>> {
            Some(Groups::along(&[2, 1, 2], axes)?.of(x).map(sum).collect())
        };
        // One and one make two before they are added to the large number; alone each is lost.
        assert_eq!(along(&[0, 2], &[big, 0.0, 1.0, 1.0]), Some(vec![big + 2.0]));
        assert_eq!(along(&[0], &[big, 1.0, 1.0, 1.0]), Some(vec![big, 2.0]));
        assert_eq!(along(&[0, 1, 2], &[big, 1.0, 1.0, 0.0]), Some(vec![big]));
    }

    #[test]
    fn windows_are_cut_at_the_edges() {
        let windows = |stride: i64, padding: i64| {
            let groups = Groups::windows(&[1, 2, 3], &[2, 2], &[stride; 2], &[padding; 2]);
            groups.map(|groups| groups.places().map(<[usize]>::to_vec).collect::<Vec<_>>())
        };
        assert_eq!(windows(1, 0), Some(vec![vec![0, 1, 3, 4], vec![1, 2, 4, 5]]));
        assert_eq!(windows(2, 1), Some(vec![vec![0], vec![1, 2], vec![3], vec![4, 5]]));
        assert!(windows(0, 0).is_none());
    }
}
