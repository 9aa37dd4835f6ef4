//! Whether one step of one hop succeeded, and why, as data; `prose` has the sentences.

use chain::Step;
use serde::{Deserialize, Serialize};
use wire::Format;

use crate::cause::Cause;
use crate::ledger::SideState;

/// Whether a step succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellStatus {
    /// It did.
    Ok,
    /// It did not.
    Failed,
    /// The evidence does not reach.
    Unknown,
    /// There was nothing to do.
    NotApplicable,
}

/// Why a step succeeded, failed, or cannot be judged.
#[derive(Debug)]
pub(crate) enum CellReason<'a> {
    Failed(&'a Cause),
    Suspected(&'a Cause),
    EarlierStepFailed(Step),
    NotOwed,
    ThirdParty,
    Left(&'a [Format]),
    LeftUnseen {
        arrived: &'a [Format],
        sent: SideState,
    },
    ParentShows,
    SentNotOnRecord,
    ReceivedNotOnRecord,
    NeitherEnd,
    AsSent(&'a [Format]),
    /// The claim was refused before it came here.
    NotReached,
    /// Asked more than once, a third party remembers one call, and we may look at another.
    AnotherCall,
    NoSender,
    NoReceiver,
    NoRecord,
    LinkExtracted,
    LinkUsed,
    Extracted,
    ParentIsSender,
    ParentNotExported,
    NotTold,
    Connected,
    NoSpans,
}

// === impl CellReason ===

impl CellReason<'_> {
    pub(crate) const fn status(&self) -> CellStatus {
        match self {
            Self::Failed(_) => CellStatus::Failed,
            Self::EarlierStepFailed(_) | Self::NotOwed | Self::NotReached | Self::ThirdParty => {
                CellStatus::NotApplicable
            }
            Self::Left(_)
            | Self::LeftUnseen { .. }
            | Self::ParentShows
            | Self::AsSent(_)
            | Self::LinkExtracted
            | Self::LinkUsed
            | Self::Extracted
            | Self::ParentIsSender
            | Self::ParentNotExported
            | Self::Connected => CellStatus::Ok,
            Self::Suspected(_)
            | Self::SentNotOnRecord
            | Self::ReceivedNotOnRecord
            | Self::NeitherEnd
            | Self::AnotherCall
            | Self::NoSender
            | Self::NoReceiver
            | Self::NoRecord
            | Self::NotTold
            | Self::NoSpans => CellStatus::Unknown,
        }
    }
}
