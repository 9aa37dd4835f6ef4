// Grafana's own code for what happens to frames after a data source made them: transformations, field options, links.
// The package has the parts; which of them run, and in which order, Grafana's application decides. That is here.

import { createRequire } from "node:module";

// The package's ES modules import CommonJS by name, which Node refuses; its CommonJS build is the same code.
const data = createRequire(import.meta.url)("@grafana/data");

// A browser has these: transformations look for a scene in the one, formats for a language in the other.
globalThis.window ??= {};
globalThis.navigator ??= { languages: ["en"] };

const THEME = data.createTheme();

data.standardTransformersRegistry.setInit(() => {
  // Two names stand for one transformation.
  const byId = new Map(Object.values(data.standardTransformers).map((transformation) => [transformation.id, transformation]));
  return [...byId].map(([id, it]) => ({ id, name: it.name, transformation: async () => it }));
});

// The properties of fields that overrides may set. The application registers them with editors, which are not needed here.
const PROPERTIES = [
  ["color", (value) => value], ["displayName", data.displayNameOverrideProcessor ?? data.stringOverrideProcessor],
  ["unit", data.unitOverrideProcessor], ["min", data.numberOverrideProcessor], ["max", data.numberOverrideProcessor],
  ["decimals", data.numberOverrideProcessor], ["noValue", data.stringOverrideProcessor],
  ["links", data.dataLinksOverrideProcessor], ["mappings", data.valueMappingsOverrideProcessor],
  ["thresholds", data.thresholdsOverrideProcessor],
].map(([path, process]) => property(path, path, process, false));
const CUSTOM = ["width", "hideFrom", "cellOptions", "align"].map((path) =>
  property(`custom.${path}`, path, (value) => value, true));
const REGISTRY = new data.FieldConfigOptionsRegistry(() => [...PROPERTIES, ...CUSTOM]);

function property(id, path, process, isCustom) {
  return {
    id, path, name: id, isCustom, shouldApply: () => true, override: () => null, editor: () => null,
    process: (value, context, settings) => process(value, context, settings),
  };
}

/** The frames that a panel draws, of those that its data source made. Examples beside a series are no series. */
export async function draw(panel, made, variables = {}) {
  const series = made.map((frame) => data.toDataFrame(frame)).filter((frame) => frame.meta?.dataTopic !== "annotations");
  const interpolate = (text) => interpolated(text, variables);
  const transformed = await first(data.transformDataFrame(panel.transformations ?? [], series, { interpolate }));
  const frames = data.applyFieldOverrides({
    data: transformed, fieldConfig: panel.fieldConfig, fieldConfigRegistry: REGISTRY, theme: THEME,
    replaceVariables: (text, scoped) => interpolated(text, variables, scoped), timeZone: "utc",
  });
  return frames.map((frame) => drawn(frame, frames));
}

/** A frame as a person sees it: by column what each cell says, its colour, and where its links lead. */
function drawn(frame, frames) {
  const fields = frame.fields.map((field) => {
    const name = data.getFieldDisplayName(field, frame, frames);
    const display = field.display ?? data.getDisplayProcessor({ field, theme: THEME });
    const cells = [...field.values].map((value, row) => {
      const { text, prefix = "", suffix = "", color } = display(value);
      const links = field.config.links?.length ? (field.getLinks?.({ valueRowIndex: row }) ?? []) : [];
      return { value, text: `${prefix}${text}${suffix}`, color, links: links.map(({ title, href }) => ({ title, href })) };
    });
    const colour = field.config.color?.mode === "fixed" ? field.config.color.fixedColor : undefined;
    return { name, type: field.type, labels: field.labels, hidden: Boolean(field.config.custom?.hideFrom?.viz), colour, cells };
  });
  return { name: frame.name, meta: frame.meta, fields };
}

/** `${name}`, `${__value.raw}`, `${__data.fields["name"]}`: what our dashboards use of Grafana's template syntax. */
export function interpolated(text, variables, scoped) {
  return text.replace(/\$\{([^}]+)\}/g, (whole, expression) => {
    const context = scoped?.__dataContext?.value;
    if (expression === "__url_time_range") return "from=now-15m&to=now";
    if (expression === "__value.raw" && context) return String(context.field.values[context.rowIndex]);
    const [, named] = /^__data\.fields\["(.+)"\]$/.exec(expression) ?? [];
    if (named && context) {
      const found = data.getFieldDisplayValuesProxy({ frame: context.frame, rowIndex: context.rowIndex })[named];
      return found === undefined ? whole : String(found);
    }
    return expression in variables ? variables[expression] : whole;
  });
}

function first(observable) {
  return new Promise((resolve, reject) => {
    observable.subscribe({ next: resolve, error: reject });
  });
}
