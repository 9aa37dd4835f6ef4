//! JSON request bodies.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Problem;

/// A JSON body; a bad one is answered with a problem that says what and where.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

/// What a body may be: a JSON object. Serde alone would also take an array with the fields in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<T>(pub T);

// === impl Body ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(Object(value))) => Ok(Self(value)),
            Err(rejection) => Err(problem(&rejection)),
        }
    }
}

// === impl Object ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, fields: M) -> Result<T, M::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

fn problem(rejection: &JsonRejection) -> Problem {
    let text = rejection.body_text();
    let detail = match rejection {
        // The text before the colon names types, the text after it describes the body.
        JsonRejection::JsonDataError(_) | JsonRejection::JsonSyntaxError(_) => {
            text.split_once(": ").map_or(text.as_str(), |(_, what)| what)
        }
        _ => &text,
    };
    Problem::new(rejection.status(), detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::Submission;

    #[test]
    fn a_claim_is_an_object_and_no_list_of_its_fields() {
        let claim = json!({
            "policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15", "amount_cents": 1,
            "description": "hail",
        });
        let read = |value: &serde_json::Value| serde_json::from_str::<Object<Submission>>(&value.to_string());
        assert_eq!(read(&claim).unwrap().0.claimant, "Ada");
        let list = json!(["POL-1001", "Ada", "2025-06-15", 1, "hail"]);
        let error = read(&list).unwrap_err().to_string();
        assert_eq!(error, "invalid type: sequence, expected a JSON object at line 1 column 0");
        let twice = r#"{"claimant": "Ada", "claimant": "Eve"}"#;
        let error = serde_json::from_str::<Object<Submission>>(twice).unwrap_err().to_string();
        assert!(error.starts_with("duplicate field `claimant`"), "which of the two would it be? {error}");
    }
}
