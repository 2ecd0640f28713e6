//! Where the user has been: each jump leaves a place to come back to.

use super::areas::Shape;
use super::document;
use super::panes::{View, source};
use crate::model::ModuleId;

/// Places that are kept each way.
const MOST: usize = 100;

/// A place: a module, and what is pointed at in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The module.
    pub module: ModuleId,
    /// The node of the graph that the cursor is on.
    pub node: Option<u32>,
    /// The line of the source.
    pub line: Option<usize>,
}

/// The places behind and ahead of the one where the user is.
#[derive(Debug, Clone, Default)]
pub struct Jumps {
    behind: Vec<Place>,
    ahead: Vec<Place>,
    /// Where a search began that is still typed.
    search: Option<Place>,
}

impl Jumps {
    /// A jump leaves this place.
    pub fn leave(&mut self, place: Place) {
        self.ahead.clear();
        push(&mut self.behind, place);
    }

    /// A search begins here: it leaves the place when it ends elsewhere.
    pub fn begin_search(&mut self, place: Place) {
        self.search = Some(place);
    }

    /// The search has ended here.
    pub fn end_search(&mut self, here: Place) {
        if let Some(place) = self.search.take().filter(|place| *place != here) {
            self.leave(place);
        }
    }

    /// The place before this one.
    pub fn back(&mut self, here: Place) -> Option<Place> {
        step(&mut self.behind, &mut self.ahead, here)
    }

    /// The place that [`Jumps::back`] came from.
    pub fn forward(&mut self, here: Place) -> Option<Place> {
        step(&mut self.ahead, &mut self.behind, here)
    }

    /// The same places in another reading of the file.
    pub fn carried(&self, same: impl Fn(ModuleId) -> Option<ModuleId>) -> Jumps {
        let carry = |places: &[Place]| {
            let mut carried = Vec::new();
            let kept = places.iter().filter_map(|place| Some(Place { module: same(place.module)?, ..*place }));
            kept.for_each(|place| push(&mut carried, place));
            carried
        };
        Jumps { behind: carry(&self.behind), ahead: carry(&self.ahead), search: None }
    }
}

fn push(places: &mut Vec<Place>, place: Place) {
    if places.last() != Some(&place) {
        places.push(place);
    }
    if places.len() > MOST {
        places.remove(0);
    }
}

fn step(from: &mut Vec<Place>, to: &mut Vec<Place>, here: Place) -> Option<Place> {
    let mut place = from.pop()?;
    if place == here {
        place = from.pop()?;
    }
    push(to, here);
    Some(place)
}

/// Where the user is.
pub(super) fn place(view: &View) -> Place {
    Place { module: view.tree.selected, node: view.tree.node(), line: view.source.place() }
}

/// Go to a place.
pub(super) fn go_to(view: &mut View, place: Place, shape: Shape) {
    match (place.node, place.line) {
        (Some(node), _) => view.tree.reveal_node(&view.document.clone(), node),
        (None, Some(line)) => {
            let focus = view.focus;
            source::go_to(view, document::Place { module: place.module, line }, shape);
            view.focus = focus;
        }
        (None, None) => view.tree.reveal(&view.document.clone(), place.module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(module: ModuleId) -> Place {
        Place { module, node: None, line: None }
    }

    #[test]
    fn jumps_go_back_and_forward() {
        let mut jumps = Jumps::default();
        assert_eq!((jumps.back(at(1)), jumps.forward(at(1))), (None, None));
        jumps.leave(at(1));
        jumps.leave(at(1));
        jumps.leave(at(2));
        assert_eq!(jumps.back(at(3)), Some(at(2)));
        assert_eq!(jumps.back(at(2)), Some(at(1)));
        assert_eq!(jumps.back(at(1)), None, "nothing is there twice in a row");
        assert_eq!(jumps.forward(at(1)), Some(at(2)));
        // Where the user has moved on by hand, back leads to where the jump came from.
        assert_eq!(jumps.back(at(9)), Some(at(1)));
        assert_eq!(jumps.forward(at(1)), Some(at(9)));
        jumps.leave(at(5));
        assert_eq!(jumps.forward(at(6)), None, "a new jump leads elsewhere");
    }

    #[test]
    fn they_are_bounded() {
        let mut jumps = Jumps::default();
        (0..10 * MOST).for_each(|module| jumps.leave(at(module)));
        let mut here = at(usize::MAX);
        let mut count = 0;
        while let Some(place) = jumps.back(here) {
            (here, count) = (place, count + 1);
        }
        assert_eq!((count, here), (MOST, at(9 * MOST)));
    }

    #[test]
    fn a_search_leaves_one_place_and_one_that_ends_where_it_began_none() {
        let mut jumps = Jumps::default();
        jumps.begin_search(at(4));
        jumps.end_search(at(4));
        assert_eq!(jumps.back(at(4)), None);
        jumps.begin_search(at(4));
        jumps.end_search(at(7));
        assert_eq!(jumps.back(at(7)), Some(at(4)));
        assert_eq!(jumps.carried(|id| (id == 7).then_some(3)).forward(at(0)), Some(at(3)));
    }
}
