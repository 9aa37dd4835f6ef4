//! The catalogue as a page for learners, in Markdown. Hints and answers are folded.

use std::fmt;

use chain::Kind;
use settings::Settings;

use crate::catalogue::Catalogue;
use crate::file::{Fault, Practice, Scenario};

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

Each [scenario](glossary.md#scenario) is a real misuse of a real API, switched on by settings. Read its symptom, switch \
it on, and find out what happens before you unfold anything:

```sh
insurewatch scenario use lab-1-b3-vs-w3c   # switch it on, live
insurewatch claim && insurewatch trace --last
insurewatch diagnose                       # the four steps, hop by hop
insurewatch scenario set python-api OTEL_PROPAGATORS=tracecontext,baggage
insurewatch check lab-1-b3-vs-w3c          # is it fixed?
```

An answer names a place (a [hop](glossary.md#hop) or a service) and what happened there. The glossary explains [the four \
steps](glossary.md#the-four-steps), the [carrier](glossary.md#carrier) and [baggage](glossary.md#baggage):

";

const ORIGIN: &str = "
The topic of a scenario has two parts: a competency of the OpenTelemetry Certified Associate exam (before the slash), and \
what the scenario shows of it (after the slash, in our words).

This page is generated from the files in [`scenarios/`](../scenarios); change those.
";

impl Catalogue {
    /// The page `docs/scenarios.md`: every lesson, in the order of the catalogue. The texts are Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        Page(self).to_string()
    }
}

// === impl Page ===

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INTRODUCTION)?;
        for kind in Kind::ALL {
            writeln!(f, "- `{}`: {}", kind.name(), kind.meaning())?;
        }
        f.write_str(ORIGIN)?;
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
        let Self { scenario, fault } = self;
        let Fault { cause, fixes, practice, .. } = fault;
        if cause.kind.is_no_break() {
            f.write_str("It looks broken, but it is not: all four steps succeed.\n\n")?;
        }
        write!(f, "**Where:** `{}` · **what:** {}", cause.place, cause.kind)?;
        write!(f, "\n\n{}", cause.text)?;
        for (at, source) in cause.sources.iter().enumerate() {
            write!(f, "{}<{source}>", if at == 0 { "\n\nSources: " } else { ", " })?;
        }
        write!(f, "\n\n{}:\n", fault.observed())?;
        for observation in fault.observations() {
            write!(f, "\n- {observation}")?;
        }
        write!(f, "\n\nThe scenario sets:\n\n{}", Commands(&scenario.settings))?;
        for fix in fixes {
            write!(f, "\n\n**Fix:** {}\n\n{}", fix.text, Commands(&fix.settings))?;
        }
        for Practice { stack, text, code, source } in practice {
            write!(f, "\n\n**{stack}:** {text} ([source]({source}))")?;
            if let Some(code) = code {
                write!(f, "\n\n```\n{}\n```", code.trim_matches('\n'))?;
            }
        }
        Ok(())
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
