//! How far the opening of a checkpoint is, for a thread that waits for it.

use std::sync::{Arc, Mutex, PoisonError};

use t2m_checkpoint::progress::Progress;

/// What is done now. Each step is named as the screen names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// The registry is loaded, and a Python is asked where it looks for source.
    #[default]
    Beginning,
    /// The file.
    Reading,
    /// The tree of modules.
    Modules,
    /// The user's Python builds the model.
    Building,
    /// Classes in the source.
    Sources,
    /// Whether it is a published model.
    Known,
    /// How each module converts.
    Triage,
    /// What the screen shows of all that.
    Showing,
}

impl Stage {
    /// What is done, in words.
    pub fn words(self) -> &'static str {
        match self {
            Stage::Beginning => "looking where source may be",
            Stage::Reading => "reading what is in the file; tensors stay there",
            Stage::Modules => "finding out which modules there are",
            Stage::Building => "your Python builds the model",
            Stage::Sources => "looking for the modules' classes in the source",
            Stage::Known => "comparing with published models",
            Stage::Triage => "finding out how each module converts",
            Stage::Showing => "counting what is to be shown",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// What is done.
    pub stage: Stage,
    /// How much of it, where that is counted.
    pub progress: Option<Progress>,
}

/// Who opens writes it down here; who waits looks when he likes.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Now>>);

impl Watch {
    /// Another step begins.
    pub fn begin(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Now { stage, progress: None };
    }

    /// So much of the step is done.
    pub fn hear(&self, progress: Progress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).progress = Some(progress);
    }

    /// How far it is.
    pub fn now(&self) -> Now {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
