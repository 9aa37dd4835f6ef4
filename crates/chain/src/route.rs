//! How routes are written, and which paths fit them.

/// How the framework that a service stands in for writes the parameters of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteSyntax {
    /// `/claims/<id>`
    Flask,
    /// `/api/claims/{id}`
    Spring,
    /// `/policies/:id`
    Express,
}

// === impl RouteSyntax ===

impl RouteSyntax {
    /// Turns a path with parameters written `{id}` into the framework's form.
    #[must_use]
    pub fn write(self, path: &str) -> String {
        match self {
            Self::Flask => path.replace('{', "<").replace('}', ">"),
            Self::Spring => path.to_owned(),
            Self::Express => path.replace('{', ":").replace('}', ""),
        }
    }
}

/// Whether a request's path fits a route, however the route writes its parameters.
#[must_use]
pub fn fits(path: &str, route: &str) -> bool {
    let (mut path, mut route) = (path.split('/'), route.split('/'));
    loop {
        match (path.next(), route.next()) {
            (None, None) => return true,
            (Some(part), Some(pattern)) if is_parameter(pattern) && !part.is_empty() => {}
            (Some(part), Some(pattern)) if part == pattern => {}
            _ => return false,
        }
    }
}

/// Whether two routes are the same but for how they write their parameters: `/policies/:id` and `/policies/{policyId}`.
#[must_use]
pub fn same_shape(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || (is_parameter(one) && is_parameter(other)) => {}
            _ => return false,
        }
    }
}

fn is_parameter(part: &str) -> bool {
    part.starts_with([':', '{', '<'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_framework_writes_a_route_that_its_path_fits() {
        for syntax in [RouteSyntax::Flask, RouteSyntax::Spring, RouteSyntax::Express] {
            let route = syntax.write("/claims/{id}/fraud-check");
            assert!(fits("/claims/c-1/fraud-check", &route), "{route}");
            assert!(!fits("/claims/c-1", &route), "{route} is longer");
        }
    }

    #[test]
    fn routes_are_told_by_their_shape() {
        for same in ["/policies/{id}", "/policies/<policy_id>", "/policies/:policyId"] {
            assert!(same_shape(same, "/policies/:id"), "{same}");
        }
        for other in ["/policies", "/policies/:id/x", "/claims/:id", "/policies/id", ""] {
            assert!(!same_shape(other, "/policies/:id"), "{other}");
        }
    }

    #[test]
    fn routes_fit_paths() {
        let cases = [
            ("/policies/P-1", "/policies/:id", true),
            ("/policies/P-1", "/policies/{id}", true),
            ("/policies/", "/policies/:id", false),
            ("/policies/P-1/x", "/policies/:id", false),
            ("/policies", "/policies/:id", false),
            ("/api/claims", "/api/claims", true),
        ];
        for (path, route, fit) in cases {
            assert_eq!(fits(path, route), fit, "{path} and {route}");
        }
    }
}
