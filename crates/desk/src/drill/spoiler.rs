//! What a drill hides, hidden by its type.

use evidence::Picture;

use crate::drill::{Drills, Viewer};

/// A value that would give a drill's answer away: a scenario, settings, a verdict, a diagnosis.
///
/// Whatever makes such a value wraps it at once, and nothing outside `drill` can reach into it. So code that shows one has
/// to go through [`Drills::open`], which has nothing to give while a drill is on, [`Drills::show`], which masks it then (on the
/// page also in a lesson that is covered), or
/// [`Spoiler::after`], which takes proof that the drill was ended. Forgetting to mask does not compile. Open it last, after
/// everything that waits: a drill may begin in between. Spans and headers are no spoilers: they are what a learner has to
/// read.
pub(crate) struct Spoiler<T>(pub(in crate::drill) T);

/// Has a form that may be shown while a drill is on.
pub(crate) trait Mask {
    fn masked(self) -> Self;
}

/// Proof that no drill is on any more; only [`Drills::end`] gives it.
pub(crate) struct Ended {
    /// The scenario that was hidden, if a drill was on.
    pub(in crate::drill) scenario: Option<String>,
}

// === impl Spoiler ===

impl<T> Spoiler<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// Works on the value where it is; what comes of it is hidden too.
    pub(crate) fn map<U>(self, work: impl FnOnce(T) -> U) -> Spoiler<U> {
        Spoiler(work(self.0))
    }

    pub(crate) fn after(self, _: &Ended) -> T {
        self.0
    }
}

impl<T, E> Spoiler<Result<T, E>> {
    pub(crate) fn transpose(self) -> Result<Spoiler<T>, E> {
        self.0.map(Spoiler)
    }
}

// === impl Picture ===

impl Mask for Picture {
    fn masked(self) -> Self {
        self.neutral()
    }
}

// === impl Ended ===

impl Ended {
    pub(crate) fn scenario(&self) -> Option<&str> {
        self.scenario.as_deref()
    }
}

// === impl Drills ===

impl Drills {
    /// The value; none while a drill is on.
    pub(crate) fn open<T>(&self, spoiler: Spoiler<T>) -> Option<T> {
        (!self.is_on()).then_some(spoiler.0)
    }

    /// The value, masked while it is hidden from this viewer.
    pub(crate) fn show<T: Mask>(&self, spoiler: Spoiler<T>, viewer: Viewer) -> T {
        if self.hides_from(viewer) { spoiler.0.masked() } else { spoiler.0 }
    }
}
