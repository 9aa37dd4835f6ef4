//! What panels have in common: where their data comes from, how series are named and coloured, what is drawn.

use chain::Service;
use serde_json::{Value, json};

use crate::link::TEMPO;

/// A panel and its place on a grid of 24 columns.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) json: Value,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What a panel asks Tempo.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask<'a> {
    /// A number per group for the whole range.
    Instant(&'a str),
    /// Numbers over time; Tempo chooses the step if none is given.
    Range(&'a str, Option<&'a str>),
    /// Traces that match, one row each.
    Traces(&'a str),
    /// Spans that match, one row each: how many traces, and spans of each.
    Spans(&'a str, u32, u32),
    /// A trace, by a variable with its id.
    Trace(&'a str),
}

/// The placeholder for a service that is not in the chain, or for none.
pub(crate) const NONE: &str = "#878b99";
/// A trace with a root where none should be.
pub(crate) const FRAGMENTED: &str = Service::JavaClaims.row().colour.chart;
/// The trace that every claim should be in.
pub(crate) const UNIFIED: &str = Service::PythonApi.row().colour.chart;
/// How a trace without a root is called.
pub(crate) const NO_ROOT: &str = "no root";

pub(crate) fn tempo() -> Value {
    json!({ "type": "tempo", "uid": TEMPO })
}

/// The services whose spans there can be.
pub(crate) fn services() -> impl Iterator<Item = Service> {
    Service::ALL.iter().copied().filter(|service| service.has_sdk())
}

// === impl Ask ===

impl Ask<'_> {
    fn target(self, ref_id: char) -> Value {
        let mut target = json!({ "refId": ref_id.to_string(), "datasource": tempo(), "queryType": "traceql" });
        let (query, more) = match self {
            Self::Instant(query) => (query.to_owned(), json!({ "metricsQueryType": "instant" })),
            Self::Range(query, None) => (query.to_owned(), json!({ "metricsQueryType": "range" })),
            Self::Range(query, Some(step)) => (query.to_owned(), json!({ "metricsQueryType": "range", "step": step })),
            Self::Traces(query) => (query.to_owned(), json!({ "tableType": "traces", "limit": 20, "spss": 3 })),
            Self::Spans(query, limit, spss) => {
                (query.to_owned(), json!({ "tableType": "spans", "limit": limit, "spss": spss }))
            }
            Self::Trace(variable) => (format!("${{{variable}}}"), json!({})),
        };
        put(&mut target, "query", query.into());
        if let Value::Object(more) = more {
            more.into_iter().for_each(|(key, value)| put(&mut target, &key, value));
        }
        target
    }
}

// === impl Panel ===

impl Panel {
    /// `healthy` says what a healthy chain shows, `empty` what to do if there is no data.
    pub(crate) fn new(kind: &str, title: &str, about: &str, healthy: &str, empty: &str) -> Self {
        Self {
            json: json!({
                "type": kind,
                "title": title,
                "description": format!("{about}\n\nHealthy: {healthy}\n\nNo data: {empty}"),
                "fieldConfig": { "defaults": {}, "overrides": [] },
                "options": {},
                "transformations": [],
            }),
            width: 12,
            height: 8,
        }
    }

    pub(crate) fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    pub(crate) fn ask(mut self, asks: &[Ask<'_>]) -> Self {
        let targets = asks.iter().zip('A'..).map(|(ask, ref_id)| ask.target(ref_id)).collect();
        put(&mut self.json, "datasource", tempo());
        put(&mut self.json, "targets", Value::Array(targets));
        self
    }

    /// Its own range, which ends now.
    pub(crate) fn last(self, time: &str) -> Self {
        self.with("timeFrom", time.into())
    }

    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        put(&mut self.json, key, value);
        self
    }

    pub(crate) fn options(self, options: Value) -> Self {
        self.with("options", options)
    }

    pub(crate) fn defaults(mut self, defaults: Value) -> Self {
        if let Some(config) = self.json.get_mut("fieldConfig") {
            put(config, "defaults", defaults);
        }
        self
    }

    pub(crate) fn transform(mut self, id: &str, options: Value) -> Self {
        push(&mut self.json, "transformations", json!({ "id": id, "options": options }));
        self
    }

    /// A column that comes of two others, `[left, operator, right]`, beside them or instead of all.
    pub(crate) fn calculate(self, alias: &str, [left, operator, right]: [&str; 3], instead: bool) -> Self {
        let column = |name| json!({ "matcher": { "id": "byName", "options": name } });
        let binary = json!({ "left": column(left), "operator": operator, "right": column(right) });
        let options = json!({ "mode": "binary", "alias": alias, "replaceFields": instead, "binary": binary });
        self.transform("calculateField", options)
    }

    /// Properties of the fields that the matcher finds.
    pub(crate) fn fields(mut self, matcher: &str, of: &str, properties: &[(&str, Value)]) -> Self {
        let properties: Vec<_> = properties.iter().map(|(id, value)| json!({ "id": id, "value": value })).collect();
        let field = json!({ "matcher": { "id": matcher, "options": of }, "properties": properties });
        if let Some(config) = self.json.get_mut("fieldConfig") {
            push(config, "overrides", field);
        }
        self
    }

    /// One fixed colour for what the pattern finds.
    pub(crate) fn colour(self, pattern: &str, colour: &str) -> Self {
        self.fields("byRegexp", pattern, &[("color", json!({ "mode": "fixed", "fixedColor": colour }))])
    }

    /// The colour of each service, for series whose name begins with the service's.
    pub(crate) fn service_colours(self) -> Self {
        services().fold(self, |panel, service| {
            panel.colour(&format!("/^{}($|,)/", service.name()), service.row().colour.chart)
        })
    }

    /// Series that are grouped by two labels, in alphabetical order, are called by both values.
    pub(crate) fn legend(self, first: &str, second: &str, name: &str) -> Self {
        let pattern = format!("^\\{{{}=\"?(.*?)\"?, {}=\"?(.*?)\"?\\}}$", escaped(first), escaped(second));
        self.transform("renameByRegex", json!({ "regex": pattern, "renamePattern": name }))
    }
}

/// A chart over time.
pub(crate) fn over_time(title: &str, unit: &str, about: &str, healthy: &str, empty: &str) -> Panel {
    Panel::new("timeseries", title, about, healthy, empty)
        .defaults(json!({
            "unit": unit,
            "min": 0,
            "noValue": "none",
            "color": { "mode": "fixed", "fixedColor": NONE },
            "custom": {
                "drawStyle": "line", "fillOpacity": 10, "lineWidth": 2, "showPoints": "auto",
                "stacking": { "mode": "none", "group": "A" },
            },
        }))
        .options(json!({
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
            "tooltip": { "mode": "multi", "sort": "desc" },
        }))
}

/// A table.
pub(crate) fn table(title: &str, about: &str, healthy: &str, empty: &str) -> Panel {
    Panel::new("table", title, about, healthy, empty)
        .defaults(json!({ "noValue": "–", "custom": { "filterable": false } }))
        .options(json!({ "showHeader": true, "cellHeight": "sm", "sortBy": [] }))
}

/// A link in a cell; the address is relative, and the range the reader's own.
pub(crate) fn link(title: &str, address: &str) -> Value {
    json!([{ "title": title, "url": format!("{address}&${{__url_time_range}}"), "targetBlank": false }])
}

/// Text instead of a value.
pub(crate) fn text(pattern: &str, shown: &str, colour: Option<&str>) -> Value {
    let mut result = json!({ "text": shown });
    if let Some(colour) = colour {
        put(&mut result, "color", colour.into());
    }
    json!({ "type": "regex", "options": { "pattern": pattern, "result": result } })
}

fn escaped(text: &str) -> String {
    text.replace('.', "\\.")
}

pub(crate) fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn push(object: &mut Value, key: &str, value: Value) {
    if let Some(list) = object.get_mut(key).and_then(Value::as_array_mut) {
        list.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grafana's panels, in its dark and in its light theme.
    const BACKGROUNDS: [&str; 2] = ["#181b1f", "#ffffff"];
    /// What is asked of graphics: <https://www.w3.org/TR/WCAG22/#non-text-contrast>.
    const LEAST_CONTRAST: f64 = 3.0;
    /// In OKLab, where about 0.02 is just noticed.
    const LEAST_DISTANCE: f64 = 0.08;
    /// What eyes without red or without green cones see of linear RGB, and what others do: Machado, Oliveira and Fernandes,
    /// 2009, at full severity.
    const EYES: [(&str, [[f64; 3]; 3]); 3] = [
        ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "no red cones",
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        ),
        (
            "no green cones",
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        ),
    ];

    fn linear(colour: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| {
            let part = f64::from(u8::from_str_radix(colour.get(at..at + 2).unwrap(), 16).unwrap()) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        })
    }

    fn times(matrix: [[f64; 3]; 3], vector: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(vector).map(|(one, other)| one * other).sum())
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |colour| times([[0.2126, 0.7152, 0.0722]; 3], linear(colour))[0] + 0.05;
        let (one, other) = (luminance(one), luminance(other));
        one.max(other) / one.min(other)
    }

    /// <https://bottosson.github.io/posts/oklab/>
    fn oklab(linear: [f64; 3]) -> [f64; 3] {
        const CONES: [[f64; 3]; 3] = [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ];
        const LAB: [[f64; 3]; 3] = [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ];
        times(LAB, times(CONES, linear).map(f64::cbrt))
    }

    fn distance(one: &str, other: &str, eye: [[f64; 3]; 3]) -> f64 {
        let seen = |colour| oklab(times(eye, linear(colour)).map(|part| part.clamp(0.0, 1.0)));
        seen(one).iter().zip(seen(other)).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
    }

    /// What can be shown side by side in one panel.
    fn palette() -> Vec<(&'static str, &'static str)> {
        let services = services().map(|service| (service.name(), service.row().colour.chart));
        services.chain([(NO_ROOT, NONE)]).collect()
    }

    #[test]
    fn colours_stand_out_from_both_backgrounds() {
        for (name, colour) in palette() {
            for background in BACKGROUNDS {
                let found = contrast(colour, background);
                assert!(found >= LEAST_CONTRAST, "{name}, {colour} on {background}: {found:.2}");
            }
        }
        assert!(contrast("#6aa9f5", "#ffffff") < LEAST_CONTRAST, "one that does not is noticed");
    }

    #[test]
    fn colours_are_told_apart_without_red_or_green() {
        for (eye, matrix) in EYES {
            for (at, (name, colour)) in palette().into_iter().enumerate() {
                for (other, beside) in palette().into_iter().skip(at + 1) {
                    let found = distance(colour, beside, matrix);
                    assert!(found >= LEAST_DISTANCE, "{eye}: {name} {colour} and {other} {beside}: {found:.3}");
                }
            }
        }
        let [_, _, (_, without_green)] = EYES;
        let (blue, purple) = ("#1f6fd0", "#8a3fc0");
        assert!(distance(blue, purple, without_green) < LEAST_DISTANCE, "two that look the same are noticed");
    }

    #[test]
    fn every_panel_says_what_is_healthy_and_what_to_do_without_data() {
        for dashboard in crate::all() {
            let json: Value = serde_json::from_str(&dashboard.to_json()).unwrap();
            for panel in json["panels"].as_array().unwrap() {
                let (title, about) = (&panel["title"], panel["description"].as_str().unwrap());
                for part in ["\n\nHealthy: ", "\n\nNo data: "] {
                    let said = about.split_once(part).map(|(_, said)| said.lines().next().unwrap_or_default());
                    assert!(said.is_some_and(|said| said.len() > 5), "{title} says{part:?}: {about}");
                }
            }
        }
    }
}
