//! The table of formats. Everything that lists formats, their names or their headers derives from its rows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::piece::Piece;
use crate::rejection::Rejection;

mod b3;
mod b3multi;
pub mod baggage;
mod jaeger;
pub mod tracecontext;
pub mod tracestate;
mod xray;

/// What headers are read from: a request, the attributes of a message, or the record of either.
pub trait Carrier {
    /// The values of the header of this lower-case name, one per line, in the order in which they came.
    fn lines(&self, header: &str) -> Vec<&str>;
}

/// The first line of a header; most formats do not judge the others.
pub(crate) fn first<'a>(carrier: &'a dyn Carrier, header: &str) -> Option<&'a str> {
    carrier.lines(header).first().copied()
}

/// Headers to send, by name.
pub type Written = Vec<(&'static str, String)>;

/// How a format carries the identity of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// A receiver of a format reads every format of its family, the first of the table first.
    pub(crate) family: Format,
    /// How a receiver reads a context that leaves the sampling decision to it.
    pub(crate) undecided: bool,
    /// Reads headers of which at least one is there.
    pub(crate) read: fn(&dyn Carrier) -> Result<Context, Rejection>,
    pub(crate) write: fn(&Context) -> Written,
    /// Takes the value of one of its headers apart.
    pub(crate) pieces: for<'a> fn(&str, &'a str) -> Vec<Piece<'a>>,
}

/// What a format carries.
#[derive(Clone, Copy, Debug)]
pub enum Carries {
    /// Which trace, which span of it, and whether it is sampled.
    Identity(Identity),
    /// The state of tracing vendors, beside the identity that [`Format::TraceContext`] carries.
    VendorState,
    /// The application's own keys and values.
    Baggage,
}

/// Rows of `Format = "name" (kind module), [headers];`. The kinds are those of [`Carries`]; only identity needs a module.
macro_rules! formats {
    ($($(#[$doc:meta])+ $format:ident = $name:literal ($kind:ident $($module:ident)?), [$($header:literal),+];)+) => {
        /// A wire format, recognised by the names of its headers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Format {
            $($(#[$doc])+ #[serde(rename = $name)] $format,)+
        }

        impl Format {
            /// Every format.
            pub const ALL: &[Self] = &[$(Self::$format),+];
            /// What `OTEL_PROPAGATORS` may hold, for people.
            pub const ALLOWED: &str = LISTED.split_at(LISTED.len() - ", ".len()).0;

            /// The name in `OTEL_PROPAGATORS`, and in scenarios.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$format => $name,)+ }
            }

            /// The headers that belong to it, in lower case.
            #[must_use]
            pub const fn headers(self) -> &'static [&'static str] {
                match self { $(Self::$format => &[$($header),+],)+ }
            }

            /// What it carries.
            #[must_use]
            pub const fn carries(self) -> Carries {
                match self { $(Self::$format => carries!($kind $($module)?),)+ }
            }
        }

        const LISTED: &str = concat!("`none`, or a comma list of ", $(listed!($kind $name)),+);
    };
}

macro_rules! carries {
    (identity $module:ident) => {
        Carries::Identity($module::IDENTITY)
    };
    (vendor_state) => {
        Carries::VendorState
    };
    (baggage) => {
        Carries::Baggage
    };
}

/// A name of `OTEL_PROPAGATORS` and a comma; `tracestate` has no separate name there.
macro_rules! listed {
    (vendor_state $name:literal) => {
        ""
    };
    ($kind:ident $name:literal) => {
        concat!($name, ", ")
    };
}

formats! {
    /// W3C Trace Context.
    TraceContext = "tracecontext" (identity tracecontext), ["traceparent"];
    /// Its companion, a separate row because it can be lost alone.
    TraceState = "tracestate" (vendor_state), ["tracestate"];
    /// W3C Baggage.
    Baggage = "baggage" (baggage), ["baggage"];
    /// B3 in a single header.
    B3 = "b3" (identity b3), ["b3"];
    /// B3 in several headers.
    B3Multi = "b3multi" (identity b3multi),
        ["x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"];
    /// Jaeger.
    Jaeger = "jaeger" (identity jaeger), ["uber-trace-id"];
    /// AWS X-Ray.
    XRay = "xray" (identity xray), ["x-amzn-trace-id"];
}

/// The headers of every format, in the order of the table.
pub fn trace_headers() -> impl Iterator<Item = &'static str> {
    Format::ALL.iter().flat_map(|format| format.headers().iter().copied())
}

// === impl Format ===

impl Format {
    /// The format that a header belongs to, by its lower-case name.
    #[must_use]
    pub fn of(header: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.headers().contains(&header))
    }

    /// The format of this name in `OTEL_PROPAGATORS`, which are case-sensitive.
    #[must_use]
    pub fn propagator(name: &str) -> Option<Self> {
        Self::propagators().find(|format| format.name() == name)
    }

    /// The formats that `OTEL_PROPAGATORS` can name.
    pub fn propagators() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|format| !matches!(format.carries(), Carries::VendorState))
    }

    /// How it carries the identity of a trace; `None` if it carries something else.
    #[must_use]
    pub const fn identity(self) -> Option<Identity> {
        match self.carries() {
            Carries::Identity(identity) => Some(identity),
            Carries::VendorState | Carries::Baggage => None,
        }
    }

    /// Whether it names a trace.
    #[must_use]
    pub const fn is_identity(self) -> bool {
        self.identity().is_some()
    }

    /// The first format of its family: who propagates one of them reads all of them.
    #[must_use]
    pub fn family(self) -> Self {
        self.identity().map_or(self, |identity| identity.family)
    }

    /// What the headers of this format say; `None` if there are none or if it names no trace.
    pub fn read(self, carrier: &dyn Carrier) -> Option<Result<Context, Rejection>> {
        let identity = self.identity()?;
        let arrived = self.headers().iter().any(|header| !carrier.lines(header).is_empty());
        arrived.then(|| (identity.read)(carrier))
    }

    /// What a receiver that propagates this format takes from `carrier`: the first context that a format of its family
    /// says, and whether it is sampled.
    pub fn extract(self, carrier: &dyn Carrier) -> Option<(Context, bool)> {
        let family = Self::ALL.iter().filter(|format| format.family() == self.family());
        let context = family.copied().find_map(|format| format.read(carrier)?.ok())?;
        Some((context, context.sampled.unwrap_or(self.identity()?.undecided)))
    }

    /// The pieces of the value of one of its headers.
    pub(crate) fn pieces<'a>(self, header: &str, value: &'a str) -> Vec<Piece<'a>> {
        match self.carries() {
            Carries::Identity(identity) => (identity.pieces)(header, value),
            Carries::VendorState => tracestate::pieces(value),
            Carries::Baggage => baggage::pieces(value),
        }
    }

    /// The headers that say `context`; none if the format names no trace.
    #[must_use]
    pub fn write(self, context: &Context) -> Written {
        self.identity().map(|identity| (identity.write)(context)).unwrap_or_default()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::headers::TraceHeaders;
    use crate::id::TraceId;

    #[test]
    fn every_header_belongs_to_one_format() {
        for header in trace_headers() {
            assert_eq!(trace_headers().filter(|other| *other == header).count(), 1, "{header}");
            assert_eq!(header, header.to_ascii_lowercase(), "names are in lower case");
        }
    }

    #[test]
    fn every_format_reads_what_it_writes() {
        let trace_id = "0af7651916cd43dd8448eb211c80319c".parse::<TraceId>().unwrap().into();
        let span_id = "b7ad6b7169203331".parse().unwrap();
        for format in Format::ALL.iter().filter(|format| format.is_identity()) {
            for sampled in [true, false] {
                let context = Context { trace_id, span_id, sampled: Some(sampled), random: false, debug: false };
                let headers = format.write(&context).into_iter();
                let headers: TraceHeaders = headers.map(|(name, value)| (name.to_owned(), vec![value])).collect();
                assert_eq!(headers.formats(), [*format], "the format is told by the names alone");
                assert_eq!(format.read(&headers), Some(Ok(context)), "{format}");
                assert_eq!(format.extract(&headers), Some((context, sampled)), "{format}");
            }
        }
    }

    #[test]
    fn the_documentation_names_every_propagator() {
        let page = include_str!("../../../../docs/settings.md");
        let row = page.lines().find(|line| line.starts_with("| `OTEL_PROPAGATORS` |")).unwrap();
        let missing: Vec<_> = Format::propagators().filter(|format| !row.contains(&format!("`{format}`"))).collect();
        assert_eq!(missing, [], "{row}");
    }

    #[test]
    fn names_are_the_words_of_operators() {
        assert_eq!(
            Format::ALLOWED,
            format!(
                "`none`, or a comma list of {}",
                Format::propagators().map(Format::name).collect::<Vec<_>>().join(", ")
            )
        );
        for format in Format::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.name(), "scenarios use the same words");
        }
        assert_eq!((Format::propagator("tracestate"), Format::propagator("B3")), (None, None));
    }

    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/edited.rs"));

    const VALUES: &[&str] = &[
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-05e3ac9a4f6e3b90",
        "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1",
        "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1",
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        "1",
        "d",
        "rojo=00f067aa0ba902b7,congo@vendor=t61rcWkgMzE",
        "tenant.id=acme-corp,user=caf%C3%A9;secret;ttl=1",
    ];

    proptest! {
        #[test]
        fn fuzz_headers_of_every_format(
            lines in proptest::collection::vec((select(trace_headers().collect::<Vec<_>>()), edited(VALUES)), 1..6),
        ) {
            let mut headers = std::collections::BTreeMap::<_, Vec<_>>::new();
            for (name, value) in lines {
                headers.entry(name.to_owned()).or_default().push(value);
            }
            let headers: TraceHeaders = headers.into_iter().collect();
            let _ = headers.sampled();
            let _ = headers.baggage();
            let _ = headers.joined(true);
            for (name, value) in headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
                let text: String = crate::pieces(name, value).iter().map(|piece| piece.text).collect();
                prop_assert_eq!(&text, value, "{} in pieces is what it was", name);
                let runs = crate::pieces(name, value).iter().flat_map(|piece| piece.runs()).map(|(run, _)| run).collect::<String>();
                prop_assert_eq!(&runs, value, "{} in runs is what it was", name);
            }
            for format in Format::ALL {
                if let Some(Err(rejection)) = format.read(&headers) {
                    prop_assert!(!rejection.to_string().is_empty(), "a rejection says why");
                }
                if let Some(Ok(_)) = format.read(&headers) {
                    let firsts = headers.iter().filter(|(name, _)| format.headers().contains(name));
                    let firsts = firsts.filter_map(|(name, values)| Some((name, values.first()?)));
                    // Where debug is asked for, nothing else that decides is read; an encoded digit is decoded by the reader
                    // alone; of two fields with one name the reader takes the last.
                    let unread = |name: &str, value: &str| name == "x-b3-sampled" || value.contains('%') || name == "x-amzn-trace-id";
                    for (name, value) in firsts.filter(|(name, value)| !unread(name, value)) {
                        let rejected = crate::pieces(name, value).into_iter().find_map(|piece| piece.says.err());
                        prop_assert!(rejected.is_none(), "{} is read, and {}: {:?}", value, name, rejected);
                    }
                }
                if let Some((context, _)) = format.extract(&headers) {
                    let written = format.write(&context).into_iter();
                    let written: TraceHeaders = written.map(|(name, value)| (name.to_owned(), vec![value])).collect();
                    let again = format.extract(&written).map(|(context, _)| (context.trace_id, context.span_id));
                    prop_assert_eq!(again, Some((context.trace_id, context.span_id)), "{} is sent on as it came", format);
                }
            }
        }
    }
}
