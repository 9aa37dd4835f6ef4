//! The catalogue as a page for learners, in Markdown. What gives an answer away is folded.

use std::fmt;

use chain::Step;
use settings::Settings;

use crate::catalogue::Catalogue;
use crate::file::{Fault, Scenario};

struct Page<'a>(&'a Catalogue);
struct Lesson<'a>(&'a Scenario);
/// The commands that set something.
struct Commands<'a>(&'a Settings);
/// A summary, and what it hides.
struct Fold<'a, T>(&'a str, T);
/// Cause, settings and fixes.
struct Answer<'a> {
    scenario: &'a Scenario,
    fault: &'a Fault,
}

const INTRODUCTION: &str = "\
# The scenarios

Each lesson is a real misuse of a real API, switched on by settings. Read its symptom, switch it on, and find out what \
happens before you unfold anything:

```sh
insurewatch scenario use lab-1-b3-vs-w3c   # switch it on, live
insurewatch claim && insurewatch trace --last
insurewatch diagnose                       # the four steps, hop by hop
insurewatch scenario set python-api OTEL_PROPAGATORS=tracecontext,baggage
insurewatch check lab-1-b3-vs-w3c          # is it fixed?
```

The four steps of every diagnosis: 1. does the sender **inject**? 2. does the header survive **transit**? 3. does the \
receiver **extract**? 4. is the context **used**?

This page is generated from the files in [`scenarios/`](../scenarios); change those.
";

impl Catalogue {
    /// The page `docs/scenarios.md`: every lesson, in the order of the catalogue. Texts are taken as Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        Page(self).to_string()
    }
}

// === impl Page ===

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INTRODUCTION)?;
        let mut group = None;
        for scenario in self.0 {
            if group.replace(scenario.group) != Some(scenario.group) {
                write!(f, "\n## {}\n", scenario.group.heading())?;
            }
            write!(f, "\n{}", Lesson(scenario))?;
        }
        Ok(())
    }
}

// === impl Lesson ===

impl fmt::Display for Lesson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { id, title, topic, symptom, look, hints, fault, .. } = self.0;
        write!(f, "### {title}\n\n`{id}` · {topic}\n\n{symptom}\n\nWhat to look at:\n\n")?;
        for look in look {
            writeln!(f, "- {look}")?;
        }
        for (at, hint) in hints.iter().enumerate() {
            write!(f, "\n{}", Fold(&format!("Hint {}", at + 1), hint))?;
        }
        if let Some(fault) = fault {
            write!(f, "\n{}", Fold("The answer", Answer { scenario: self.0, fault }))?;
        }
        Ok(())
    }
}

// === impl Answer ===

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario: Scenario { settings, control, .. }, fault: Fault { cause, fixes, .. } } = self;
        if *control {
            f.write_str("It looks broken. Is it? No: all four steps succeed.\n\n")?;
        }
        write!(f, "**Where:** `{}`", cause.place)?;
        if let Some(step) = cause.step {
            write!(f, " · **step that fails:** {}", numbered(step))?;
        }
        write!(f, "\n\n{}\n\nThe scenario sets:\n\n{}", cause.text, Commands(settings))?;
        for fix in fixes {
            write!(f, "\n\n**Fix:** {}\n\n{}", fix.text, Commands(&fix.settings))?;
        }
        Ok(())
    }
}

fn numbered(step: Step) -> &'static str {
    match step {
        Step::Inject => "1, inject",
        Step::Transit => "2, transit",
        Step::Extract => "3, extract",
        Step::Use => "4, use",
    }
}

// === impl Commands ===

impl fmt::Display for Commands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("```sh\n")?;
        for (service, key, value) in self.0.iter() {
            writeln!(f, "insurewatch scenario set {service} {key}={value}")?;
        }
        f.write_str("```")
    }
}

// === impl Fold ===

impl<T: fmt::Display> fmt::Display for Fold<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "<details><summary>{}</summary>\n\n{}\n\n</details>", self.0, self.1)
    }
}
