//! Which modules of the tree are wanted.

use std::collections::HashSet;

use crate::model::ModuleId;
use crate::triage::Status;
use crate::tui::document::Document;
use crate::verify::Results;

/// Which modules are wanted. Ancestors of a wanted module stay, dimmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// These statuses; all when empty.
    pub statuses: HashSet<Status>,
    /// Only what was measured badly: drift, broken, failed.
    pub bad: bool,
}

impl Filter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.statuses.is_empty() && !self.bad
    }

    /// Whether a module is wanted.
    pub fn wants(&self, document: &Document, measured: &Results, id: ModuleId) -> bool {
        let status = document.triage(id).map(|triage| triage.status);
        let by_status = self.statuses.is_empty() || status.is_some_and(|status| self.statuses.contains(&status));
        by_status && (!self.bad || measured.is_bad(id))
    }
}
