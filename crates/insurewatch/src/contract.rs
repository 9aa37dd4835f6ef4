//! What a service must answer that fills a seat of the chain, as OpenAPI, and what it is told, for a shell or for compose.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chain::sdk::{Capture, Language};
use chain::{CarrierKind, Service, Topology};
use reqwest::Url;
use serde_json::{Value, json};

use crate::cli::{Format, Lab, SeatOptions};
use crate::lab_file::LabFile;
use crate::seat::{DEFAULT_HEALTH_PATH, Variable, variables};
use crate::services::needs;

/// A message on the claims queue, as the lab's built-in queue keeps it.
const QUEUE: &str = "One row per message: INSERT INTO queue_messages (queue, id, body, attributes, visible_at_ms) VALUES \
                     ('claims', :claim_id, '{\"claim_id\": …, \"amount_cents\": …}', '{\"traceparent\": {\"DataType\": \"String\", \
                     \"StringValue\": …}, …}', (SELECT now_ms FROM queue_clock)) ON CONFLICT (queue, id) DO NOTHING. The \
                     attributes are the carrier of the context: a PRODUCER span injects it there.";

/// Prints the environment of a service in a seat, or the seat's contract.
pub(crate) fn print(lab: &Lab, options: &SeatOptions) -> anyhow::Result<ExitCode> {
    if options.openapi {
        let document = openapi(options.service)
            .with_context(|| format!("{} answers no requests of the chain", options.service))?;
        anstream::println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(language) = options.language else {
        bail!("which language? name one with --language, or ask for --openapi")
    };
    let text = match options.format {
        Format::Shell => as_shell(&environment(options.service, language, &here(lab)?)),
        Format::Compose => as_compose(options.service, &environment(options.service, language, &in_compose())),
    };
    anstream::print!("{}", notes(options.service, language));
    anstream::print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Where a lab has what a service in a seat must reach.
struct Addresses {
    otlp: String,
    of: Box<dyn Fn(Service) -> String>,
    queue: String,
}

/// Where the lab is that runs in the data directory, or else where one usually is.
fn here(lab: &Lab) -> anyhow::Result<Addresses> {
    let file = LabFile::read(&lab.data_dir)?;
    let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let usual = |port: u16| format!("http://127.0.0.1:{port}");
    let otlp = file.as_ref().and_then(|file| file.otlp_http.as_ref()).map_or_else(|| usual(4318), plain);
    let queue = lab.data_dir.join("queue.db");
    let queue = format!("sqlite://{}", std::path::absolute(&queue).unwrap_or(queue).display());
    let of = move |to: Service| {
        let mut processes = file.iter().flat_map(|file| &file.processes);
        let process = processes.find(|process| process.service == to.name());
        process.map_or_else(|| usual(to.row().port), |process| plain(&process.url))
    };
    Ok(Addresses { otlp, of: Box::new(of), queue })
}

/// Where it is for a container of the lab's own compose project.
fn in_compose() -> Addresses {
    Addresses {
        otlp: "http://otel-collector:4318".to_owned(),
        of: Box::new(|to| format!("http://{to}:{}", to.row().port)),
        queue: "nats://nats:4222".to_owned(),
    }
}

/// Everything that a service in this seat is told.
fn environment(service: Service, language: Language, addresses: &Addresses) -> Vec<Variable> {
    let tell = |name, value: &str, why| Variable { name, value: value.to_owned(), why };
    let mut all = vec![
        tell("OTEL_SERVICE_NAME", service.name(), "the seat's name"),
        tell("OTEL_PROPAGATORS", "tracecontext,baggage", "what the chain propagates"),
        tell("OTEL_EXPORTER_OTLP_ENDPOINT", &addresses.otlp, "where spans are sent"),
    ];
    all.extend(variables(&[language]));
    all.extend(needs(service).calls.iter().map(|call| tell(call.variable, &(addresses.of)(call.to), "whom to call")));
    all.extend(needs(service).queue.then(|| tell("QUEUE_URL", &addresses.queue, "where messages go")));
    all
}

/// What stands above the variables, as comments.
fn notes(service: Service, language: Language) -> String {
    let mut notes = vec![format!("{service}, filled by a service in {language}. Try it with:")];
    notes.push(format!("  insurewatch up --seat {service}='COMMAND'   (listens on $PORT)"));
    notes.push(format!("  insurewatch up --seat {service}=http://127.0.0.1:8080"));
    let callers = Topology::LAB.hops.iter().filter(|hop| hop.to == service);
    let callers: Vec<_> =
        callers.map(|hop| format!("{} by `{}`", hop.via.unwrap_or(hop.from), hop.receiver_span)).collect();
    if !callers.is_empty() {
        notes.push(format!("It is called by {}.", callers.join(", ")));
    }
    notes.push(
        "Every call of a claim carries its id in the header x-claim-id: it has to be sent on with every call."
            .to_owned(),
    );
    let row = language.row();
    if let Capture::Code(code) = row.capture {
        notes.push(format!("Headers are put on record by code alone: {code}."));
    }
    if !row.by_code.is_empty() {
        notes.push(format!("Note: {}.", row.by_code));
    }
    if Topology::LAB.hops.iter().any(|hop| hop.from == service && matches!(hop.carrier, CarrierKind::Queue { .. })) {
        notes.push(QUEUE.to_owned());
    }
    notes.iter().flat_map(|note| textwrap::wrap(note, 116)).map(|line| format!("# {line}\n")).collect()
}

fn as_shell(variables: &[Variable]) -> String {
    let line = |it: &Variable| format!("export {}='{}'  # {}\n", it.name, it.value.replace('\'', r"'\''"), it.why);
    variables.iter().map(line).collect()
}

/// An override for the lab's own `compose.yaml`.
fn as_compose(service: Service, variables: &[Variable]) -> String {
    let port = service.row().port;
    let mut text = format!(
        "services:\n  {service}:\n    image: YOUR-IMAGE\n    command: []  # it must listen on port {port}\n    environment:\n"
    );
    for Variable { name, value, why } in variables {
        let value = Value::from(value.replace('$', "$$"));
        text.push_str(&format!("      {name}: {value}  # {why}\n"));
    }
    text.push_str(&format!(
        "  desk:\n    environment:\n      INSUREWATCH_SEATS: {service}=http://{service}:{port}{DEFAULT_HEALTH_PATH}\n"
    ));
    text
}

/// The HTTP contract of a seat; `None` if nobody of the chain sends it requests.
fn openapi(service: Service) -> Option<Value> {
    let claim_id = json!({ "name": "x-claim-id", "in": "header", "required": true, "schema": { "$ref": "#/components/schemas/ClaimId" } });
    let id = |schema: Value| json!({ "name": "id", "in": "path", "required": true, "schema": schema });
    let by_id = id(json!({ "$ref": "#/components/schemas/ClaimId" }));
    let problem = |what: &str| json!({ "description": what, "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let body =
        |name: &str| json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } });
    let answer = |what: &str, name: &str| json!({ "description": what, "content": body(name) });
    let submission = json!({ "required": true, "content": body("Submission") });
    let refused = problem("Fields that cannot be accepted, or no such policy");
    let down = problem("A service that is called does not answer");
    let paths = match service {
        Service::PythonApi => json!({
            "/claims": { "post": {
                "summary": "Takes a claim, gives it an id and sends it on to $CLAIMS_URL/api/claims, with the header x-claim-id",
                "requestBody": submission,
                "responses": {
                    "201": {
                        "description": "What the claims service answered",
                        "headers": { "x-claim-id": { "required": true, "schema": { "$ref": "#/components/schemas/ClaimId" } } },
                        "content": body("Claim"),
                    },
                    "422": refused,
                    "503": down,
                },
            } },
            "/claims/{id}": { "get": {
                "summary": "Reads a claim back from $CLAIMS_URL/api/claims/{id}",
                "parameters": [by_id],
                "responses": { "200": answer("The claim", "Claim"), "404": problem("No such claim") },
            } },
        }),
        Service::JavaClaims => json!({
            "/api/claims": { "post": {
                "summary": "Decides a claim by the policy at $POLICY_STORE_URL/policies/{policy_id}, keeps it, and sends a message \
                            to the claims queue. The same claim again is answered alike",
                "description": QUEUE,
                "parameters": [claim_id],
                "requestBody": submission,
                "responses": { "201": answer("The claim as it is kept", "Claim"), "422": refused, "503": down },
            } },
            "/api/claims/{id}": { "get": {
                "summary": "Reads a claim",
                "parameters": [by_id],
                "responses": { "200": answer("The claim", "Claim"), "404": problem("No such claim") },
            } },
            "/api/claims/{id}/fraud-check": { "put": {
                "summary": "Records what the fraud check found; the same finding twice is one",
                "parameters": [by_id, claim_id],
                "requestBody": { "required": true, "content": body("FraudCheck") },
                "responses": { "204": { "description": "Recorded" }, "404": problem("No such claim"), "409": problem("Another finding") },
            } },
        }),
        Service::NodePolicyStore => json!({
            "/policies/{id}": { "get": {
                "summary": "Reads a policy; the lab's probes ask for POL-1001 to POL-1010",
                "parameters": [id(json!({ "type": "string", "pattern": "^[A-Z0-9-]{1,32}$" })), claim_id],
                "responses": { "200": answer("The policy", "Policy"), "404": problem("No such policy") },
            } },
        }),
        Service::Gateway | Service::ClaimsWorker | Service::FraudPartner => return None,
    };
    let mut paths = paths;
    if let Some(paths) = paths.as_object_mut() {
        let well = json!({ "get": { "summary": "Health", "responses": { "200": { "description": "It runs; the body does not matter" } } } });
        paths.insert("/healthz".to_owned(), well);
    }
    Some(json!({
        "openapi": "3.1.0",
        "info": { "title": format!("The seat {service} of InsureWatch"), "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": schemas() },
    }))
}

fn schemas() -> Value {
    let cents = json!({ "type": "integer", "minimum": 1, "maximum": 100_000_000_000_u64 });
    let day = json!({ "type": "string", "format": "date" });
    let text = |most: u32| json!({ "type": "string", "minLength": 1, "maxLength": most });
    let object = |properties: Value, optional: &[&str]| {
        let names = properties
            .as_object()
            .into_iter()
            .flat_map(|it| it.keys())
            .filter(|name| !optional.contains(&name.as_str()));
        let required: Vec<_> = names.cloned().collect();
        json!({ "type": "object", "properties": properties, "required": required })
    };
    let submission = json!({
        "policy_id": { "type": "string", "pattern": "^[A-Z0-9-]{1,32}$" }, "claimant": text(100), "incident_date": day,
        "amount_cents": cents, "description": text(2000),
    });
    let mut claim = submission.clone();
    if let Some(claim) = claim.as_object_mut() {
        claim.insert("claim_id".to_owned(), json!({ "$ref": "#/components/schemas/ClaimId" }));
        claim.insert("decision".to_owned(), json!({ "$ref": "#/components/schemas/Decision" }));
        claim.insert("fraud_check".to_owned(), json!({ "$ref": "#/components/schemas/FraudCheck" }));
    }
    json!({
        "ClaimId": { "type": "string", "pattern": "^CLM-[0-9a-f]{32}$" },
        "Submission": object(submission, &[]),
        "Claim": object(claim, &["fraud_check"]),
        "Decision": { "oneOf": [
            object(json!({ "outcome": { "const": "approved" }, "payout_cents": cents }), &[]),
            object(json!({ "outcome": { "const": "declined" }, "reason": { "type": "string" } }), &[]),
        ] },
        "FraudCheck": object(json!({ "finding": { "enum": ["clear", "suspicious"] } }), &[]),
        "Policy": object(json!({
            "policy_id": { "type": "string" }, "holder": { "type": "string" }, "product": { "type": "string" }, "valid_from": day,
            "valid_until": day, "limit_cents": cents, "deductible_cents": { "type": "integer", "minimum": 0 },
        }), &[]),
        "Problem": object(json!({
            "status": { "type": "integer" }, "title": { "type": "string" }, "detail": { "type": "string" },
            "errors": { "type": "array", "items": { "type": "object" } },
        }), &["errors"]),
    })
}

#[cfg(test)]
mod tests {
    use service::contract::{Claim, FraudCheck, Policy, Submission};

    use super::*;

    /// The properties of a schema, and those that are not required.
    fn fields(schema: &Value) -> (Vec<String>, Vec<String>) {
        let all: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let required: Vec<String> = serde_json::from_value(schema["required"].clone()).unwrap();
        let optional = all.iter().filter(|name| !required.contains(name)).cloned().collect();
        (all, optional)
    }

    fn keys(value: &Value) -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_contract_has_the_fields_that_travel() {
        let submission = json!({
            "policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15", "amount_cents": 1, "description": "hail",
        });
        let mut claim = submission.clone();
        claim["claim_id"] = json!("CLM-0af7651916cd43dd8448eb211c80319c");
        claim["decision"] = json!({ "outcome": "approved", "payout_cents": 1 });
        claim["fraud_check"] = json!({ "finding": "clear" });
        let policy = json!({
            "policy_id": "POL-1001", "holder": "Ada", "product": "home", "valid_from": "2025-01-01", "valid_until": "2025-12-31",
            "limit_cents": 1, "deductible_cents": 0,
        });
        let written = [
            ("Submission", serde_json::to_value(serde_json::from_value::<Submission>(submission).unwrap())),
            ("Claim", serde_json::to_value(serde_json::from_value::<Claim>(claim).unwrap())),
            ("Policy", serde_json::to_value(serde_json::from_value::<Policy>(policy).unwrap())),
            (
                "FraudCheck",
                serde_json::to_value(serde_json::from_value::<FraudCheck>(json!({ "finding": "clear" })).unwrap()),
            ),
        ];
        for (name, value) in written {
            let (mut all, optional) = fields(&schemas()[name]);
            let mut travels = keys(&value.unwrap());
            all.sort();
            travels.sort();
            assert_eq!(all, travels, "{name}: what the lab's own services send and read");
            assert_eq!(optional, if name == "Claim" { vec!["fraud_check"] } else { Vec::new() }, "{name}");
        }
    }

    #[test]
    fn every_receiver_of_a_hop_is_in_the_contract_of_its_seat() {
        for hop in Topology::LAB.hops.iter().filter(|hop| hop.carrier == CarrierKind::Http && hop.to.has_sdk()) {
            let document = openapi(hop.to).unwrap();
            let (method, route) = hop.receiver_span.split_once(' ').unwrap();
            let paths = document["paths"].as_object().unwrap();
            let path = paths.iter().find(|(path, _)| chain::route::same_shape(path, route));
            let (_, operations) = path.unwrap_or_else(|| panic!("{route} is no path of {}", hop.to));
            assert!(operations.get(method.to_lowercase()).is_some(), "{method} {route}");
        }
        assert_eq!(openapi(Service::FraudPartner), None, "a third party's contract is its own");
    }

    #[test]
    fn a_shell_reads_what_is_printed() {
        let told = [Variable { name: "A", value: "it's".to_owned(), why: "a test" }];
        assert_eq!(as_shell(&told), "export A='it'\\''s'  # a test\n");
        assert!(as_compose(Service::JavaClaims, &told).contains("      A: \"it's\"  # a test\n"));
    }
}
