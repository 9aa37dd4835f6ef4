//! The OpenAPI document: generated from the handlers, completed with what any of them may answer.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "InsureWatch desk",
        description = "Choose a scenario, send claims, see which traces each was split into, and read what the evidence says about the chain. Beyond loopback it requires a bearer token.",
    ),
    components(schemas(Problem))
)]
pub(crate) struct Document;

/// An error ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes what the service crate sends")]
struct Problem {
    /// The HTTP status code.
    status: u16,
    /// The status in words.
    title: String,
    /// What is wrong with this request.
    detail: String,
    /// The fields at fault, if the body is at fault.
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

/// One field at fault.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes what the service crate sends")]
struct FieldError {
    /// The field's name.
    field: String,
    /// What is wrong, and what is allowed.
    detail: String,
}

const EVERYWHERE: &[(&str, &str)] = &[
    ("400", "The path or the query cannot be read, or the body is not JSON."),
    ("401", "The bearer token is missing or wrong."),
    ("403", "The request comes from a page of another site, or the answers are locked."),
    ("404", "Nothing exists under this path or id."),
    (
        "409",
        "The request conflicts with the current state: a drill is on or is not, or the file of active settings has a mistake.",
    ),
    ("503", "A part of the lab that is needed does not answer."),
];
const WITH_BODY: &[(&str, &str)] = &[
    ("413", "The body is too large."),
    ("415", "The Content-Type is not application/json."),
    ("422", "The body can be read, but its content is not valid."),
];

/// Adds the answers that layers and extractors give.
pub(crate) fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in document.paths.paths.values_mut() {
        let PathItem { get, post, .. } = item;
        for operation in [get, post].into_iter().flatten() {
            add(operation, EVERYWHERE);
        }
        if let Some(operation) = post {
            add(operation, &[("429", "Too many changes at once.")]);
            if operation.request_body.is_some() {
                add(operation, WITH_BODY);
            }
        }
    }
    document
}

fn add(operation: &mut Operation, answers: &[(&str, &str)]) {
    let known: &mut BTreeMap<String, RefOr<Response>> = &mut operation.responses.responses;
    for (status, description) in answers {
        known.entry((*status).to_owned()).or_insert_with(|| problem(description).into());
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content(service::Problem::MEDIA_TYPE, content).build()
}
