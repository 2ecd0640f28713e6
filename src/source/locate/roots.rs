//! The folders in which a file may be that is known by a part of its path.

use std::path::{Path, PathBuf};

use super::{Root, Sources};

/// Folders in which a file may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// Those that the user named as source.
    pub own: Vec<PathBuf>,
    /// Those that hold packages.
    pub packages: Vec<PathBuf>,
}

impl Sources {
    /// Where files are looked for by a part of their path: the user's own folders, and those of packages, in order.
    pub fn roots(&self) -> Roots {
        let mut roots = Roots::default();
        for root in self.others.iter().filter_map(|number| self.roots.get(*number)) {
            match root {
                Root::File(path) => roots.own.extend(path.parent().map(Path::to_owned)),
                Root::Folder { path, .. } => roots.own.push(path.clone()),
                Root::Packages { path, .. } => roots.packages.push(path.clone()),
                Root::Text { .. } => {}
            }
        }
        roots
    }
}
