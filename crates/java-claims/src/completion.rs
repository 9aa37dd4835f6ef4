//! Completions: closures that run on a separate thread once a claim is decided, often after the answer was sent.

use std::sync::mpsc;

use opentelemetry::{Context, ContextGuard};

use crate::seams::CompletionContext;

/// A thread that runs closures one after the other, as a callback-style client library would.
#[derive(Clone, Debug)]
pub(crate) struct Dispatcher {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    mode: CompletionContext,
    cx: Context,
    run: Box<dyn FnOnce() + Send>,
}

// === impl Dispatcher ===

impl Dispatcher {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        std::thread::Builder::new().name("dispatcher".to_owned()).spawn(move || dispatch(&queue))?;
        Ok(Self { jobs })
    }

    pub(crate) fn complete(&self, mode: CompletionContext, run: impl FnOnce() + Send + 'static) {
        let job = Job { mode, cx: Context::current(), run: Box::new(run) };
        if self.jobs.send(job).is_err() {
            tracing::error!("the dispatcher is gone");
        }
    }
}

fn dispatch(queue: &mpsc::Receiver<Job>) {
    // A guard that outlives its job is what makes the next one run in the wrong trace.
    let mut held: Option<ContextGuard> = None;
    for Job { mode, cx, run } in queue {
        match mode {
            CompletionContext::Captured => {
                held = None;
                let _attached = cx.attach();
                run();
            }
            CompletionContext::None => {
                held = None;
                run();
            }
            CompletionContext::Previous => {
                run();
                drop(held.take());
                held = Some(cx.attach());
            }
        }
    }
    drop(held);
}
