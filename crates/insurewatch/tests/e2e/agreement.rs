//! Whether all that the desk says of a claim is one truth: the list, the picture, check, diagnose, and the grading of
//! drills.

use chain::vocabulary::TENANT;
use chain::{Kind, Place, Service, Topology};
use desk::api::{CheckReport, ClaimRow, Judgement};
use evidence::{Answer, ClaimEvidence, Collected, Diagnosis, Expectation, Outcome, Reading, Span, Weight};
use scenario::Scenario;
use scenario::file::Cause;
use serde_json::json;

use crate::answer_key::Judged;
use crate::lab::Lab;

/// Every claim of a check is in the list and in its picture what the verdict says.
pub(crate) fn assert_checked_alike(lab: &Lab, report: &CheckReport, healed: &Expectation, what: &str) {
    for claim in &report.verdict.claims {
        if claim.traces.is_empty() {
            assert_ne!(claim.outcome, Outcome::Healthy, "{what}: there is nothing to look at");
            continue;
        }
        let collected = lab.look(&claim.claim_id).collected;
        let reading = Reading::new(Topology::LAB, &collected);
        let (outcome, judged) = (reading.conclude().outcome(), reading.conclude_with(Some(healed)).outcome());
        assert_eq!(judged, claim.outcome, "{what}: check comes to what its claim's spans show");
        assert_eq!(outcome == Outcome::Healthy, is_whole(lab, &claim.claim_id), "{what}: {outcome:?} in the list");
        assert_drawn_alike(lab, &reading.conclude().diagnosis(), what);
        assert_every_trace_is_reached(&reading, what);
        assert_drawn_in_its_traces(lab, &reading, what);
    }
}

/// From the trace that the claim came in with, breaks and links lead to all of its traces.
fn assert_every_trace_is_reached(reading: &Reading<'_>, what: &str) {
    let evidence = reading.evidence();
    let breaks = reading.breaks().into_iter().map(|at| (at.from.0, at.to.0));
    let links = evidence.spans().flat_map(|span| span.links.iter().map(|link| (link.trace_id, span.trace_id)));
    let ways: Vec<_> = breaks.chain(links).collect();
    // The claim's own request; a trace of another claim, which it may be mixed with, can begin earlier.
    let entry = |span: &&Span| reading.is_front_door(span) && span.claim_id() == Some(evidence.claim_id.as_str());
    let first = evidence.spans().find(entry).or_else(|| evidence.spans().next());
    let mut reached: Vec<_> = first.map(|span| span.trace_id).into_iter().collect();
    while let Some((_, next)) = ways.iter().find(|(from, to)| reached.contains(from) && !reached.contains(to)) {
        reached.push(*next);
    }
    for fragment in &evidence.fragments {
        assert!(reached.contains(&fragment.trace_id), "{what}: nothing leads to {}: {ways:?}", fragment.describe());
    }
}

/// What was diagnosed is what the claim's spans show, and what its picture does.
pub(crate) fn assert_diagnosed_alike(lab: &Lab, diagnosis: &Diagnosis, what: &str) {
    // There may be no span to look at.
    if diagnosis.findings().next().is_some() {
        let collected = lab.look(&diagnosis.claim_id).collected;
        let again = Reading::new(Topology::LAB, &collected).conclude().diagnosis();
        assert_eq!(&again, diagnosis, "{what}: diagnose says what its claim's spans show");
        assert_drawn_alike(lab, diagnosis, what);
    }
}

/// The page of a claim shows red where something was found, and nowhere else.
fn assert_drawn_alike(lab: &Lab, diagnosis: &Diagnosis, what: &str) {
    let page = page_of(lab, &diagnosis.claim_id);
    let (_, chain) = page.split_once("<svg class=\"chain\"").expect("the page has a picture");
    let (chain, rest) = chain.split_once("</svg>").expect("the picture ends");
    let (beside, _) = rest.split_once("</section>").expect("the hops end");
    let count = |text: &str, parts: &[&str]| parts.iter().map(|part| text.matches(part).count()).sum::<usize>();
    let found = |in_chain| diagnosis.findings().filter(|finding| finding.place.is_some() == in_chain).count();
    let shown = count(chain, &[" torn\"", " leaking\"", " lost\""]);
    assert_eq!(shown, found(true), "{what}: {chain}\n{diagnosis:#?}");
    assert_eq!(count(beside, &["<p class=\"bad\">"]), found(false), "{what}: {beside}\n{diagnosis:#?}");
    let red = count(&page, &["class=\"bad\""]);
    assert!(red == 0 || diagnosis.findings().next().is_some(), "{what}: facts are not red by themselves: {page}");
}

/// Every service of the claim is drawn with the letters of the traces that have spans of it, and every hop with what became of
/// the baggage.
fn assert_drawn_in_its_traces(lab: &Lab, reading: &Reading<'_>, what: &str) {
    let evidence = reading.evidence();
    let page = page_of(lab, &evidence.claim_id);
    for service in Topology::LAB.instrumented() {
        // A trace may hold other claims too, and the first span of a service in a trace carries the claim's id.
        let ours = |span: &&Span| span.service == service.name() && span.claim_id() == Some(&evidence.claim_id);
        let letters =
            ('A'..='Z').zip(&evidence.fragments).filter(|(_, fragment)| fragment.spans().any(|span| ours(&span)));
        let letters: Vec<_> = letters.map(|(letter, _)| letter.to_string()).collect();
        let words = match letters.as_slice() {
            [] => "no span received".to_owned(),
            [one] => format!("trace {one}"),
            several => format!("traces {}", several.join(", ")),
        };
        assert!(page.contains(&format!("{service}: {words}")), "{what}: {service} is in {words}: {page}");
    }
    for row in reading.rows().iter().filter(|row| row.hop.to.has_sdk()) {
        let Some(receiver) = row.received.span.and_then(|it| evidence.span(it.trace_id, it.span_id)) else { continue };
        let read = receiver.attributes.contains_key(TENANT);
        let sentence =
            page.split_once(&format!(", {} to {}", row.hop.from, row.hop.to)).expect("each hop has a sentence").1;
        let (sentence, _) = sentence.split_once('.').expect("it ends");
        assert_eq!(sentence.contains("baggage carried"), read, "{what}: the tenant was read there or not: {sentence}");
        let dropped = sentence.contains("baggage dropped");
        assert!(!dropped || !read, "{what}: what was read was not dropped: {sentence}");
    }
}

/// The page shows what the learner chose to see: colours, verdict and settings.
pub(crate) fn uncover(lab: &Lab) {
    lab.post("parts/uncover", &json!({}));
}

/// Until the learner has a hypothesis, no page judges a claim, and none shows the settings or the scenario's id.
pub(crate) fn assert_covered(lab: &Lab, lesson: &Scenario, evidence: &ClaimEvidence) {
    let read = |path: &str| lab.client.get(format!("{}{path}", lab.file.desk)).send().unwrap().text().unwrap();
    let forms = Service::ALL.iter().map(|service| format!("parts/settings/{service}"));
    let pages = ["", "parts/lab", "parts/settings", "parts/claims"].map(str::to_owned);
    for path in pages.into_iter().chain(forms).chain([format!("claims/{}", evidence.claim_id)]) {
        let page = read(&path);
        let id = &lesson.id;
        for class in ["joined", "torn", "leaking", "lost", "unsure", "dropped", "leaks", "carried"] {
            let judged = page.contains(&format!(" {class}\""));
            assert!(!judged, "{id}: /{path} has an arrow or a box that is {class}: {page}");
        }
        let text: String = page.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
        assert!(!text.contains(id), "{id}: /{path} shows the id: {text}");
        assert!(!page.contains("is-set"), "{id}: /{path} shows what is set: {page}");
    }
}

fn page_of(lab: &Lab, claim_id: &str) -> String {
    let url = format!("{}claims/{claim_id}", lab.file.desk);
    lab.client.get(url).send().unwrap().error_for_status().unwrap().text().unwrap()
}

fn is_whole(lab: &Lab, claim_id: &str) -> bool {
    let rows: Vec<ClaimRow> = lab.get("api/claims");
    let row = rows.into_iter().find(|row| row.claim.claim_id.as_deref() == Some(claim_id));
    row.and_then(|row| row.seen).is_some_and(|seen| seen.whole)
}

/// Every answer that could be given, weighed against the spans of one claim of a scenario: the cause is accepted, whatever
/// is accepted cannot be told from it, and whatever is refused is refused by an observation, or is true of a later break.
pub(crate) fn assert_answers_weighed(id: &str, cause: &Cause, collected: &Collected) -> Vec<(Answer, Judged)> {
    let reading = Reading::new(Topology::LAB, collected);
    let conclusion = reading.conclude();
    let truth = Answer::new(cause.place, cause.kind);
    let hops = Topology::LAB.hops.iter().map(Place::Hop);
    let places = hops.chain(Topology::LAB.services().map(Place::Service));
    let timed = |answer: Answer| {
        [answer.kind, truth.kind].iter().all(|it| matches!(it, Kind::Late | Kind::NotExported))
            && Answer::new(answer.place, truth.kind).means(truth)
    };
    let weighed = places.flat_map(|place| Kind::ALL.map(|kind| Answer::new(place, kind))).map(|answer| {
        let accepted = answer.means(truth) || conclusion.same_evidence(answer, truth).is_some();
        let name = format!("{id} | {} | {}", answer.place, answer.kind);
        let weight = conclusion.weigh(answer);
        match &weight {
            _ if answer == truth => assert!(accepted, "{name}: the cause itself"),
            _ if accepted || timed(answer) => {}
            Weight::First => panic!("{name}: refused, though the spans show just this: {conclusion:#?}"),
            Weight::Later => {}
            Weight::Against(sentence) | Weight::Open(sentence) => {
                assert!(sentence.ends_with('.'), "{name}: a reply is a sentence: {sentence}");
                let named = truth.kind.step().is_some() && sentence.contains(&truth.kind.to_string());
                assert!(!named || answer.kind == truth.kind, "{name}: a reply does not name what happened: {sentence}");
            }
        }
        let judged = match (accepted, timed(answer)) {
            (true, _) => Judged::Accepted,
            (false, true) => Judged::ByTime,
            (false, false) => Judged::Refused(weight.reply()),
        };
        (answer, judged)
    });
    weighed.collect()
}

/// The cause is right, and so are the service that does its step and what diagnose found first; a bystander is wrong.
pub(crate) fn assert_graded_alike(lab: &Lab, id: &str, cause: &Cause, diagnosis: &Diagnosis) {
    let Cause { place, kind, .. } = *cause;
    let (touched, alias) = match place {
        Place::Hop(hop) => (vec![Some(hop.from), hop.via, Some(hop.to)], hop.doer(kind)),
        Place::Service(service) => (vec![Some(service)], None),
    };
    let bystander = Topology::LAB.instrumented().filter(|service| !touched.contains(&Some(*service))).last();
    let answer = |place: Place, kind: Kind| {
        let answer = json!({ "place": place.to_string(), "kind": kind });
        lab.post("api/drill/answer", &answer).json::<Judgement>().unwrap()
    };
    let first = diagnosis.first.as_ref().and_then(|first| Some((first.place?, Kind::Fails(first.step?))));
    let right = [Some((place, kind)), alias.map(|service| (Place::Service(service), kind)), first];
    let mut tried = Vec::new();
    for (place, kind) in right.into_iter().flatten() {
        if tried.contains(&(place, kind)) {
            continue;
        }
        lab.post("api/drill", &json!({ "scenarios": [id] }));
        // An answer sends no claim. What one leaves behind may only harm the next.
        lab.cli(&["claim", "--count", "2"]).ended(0, "there is evidence to judge by");
        if tried.is_empty() {
            let bystander = Place::Service(bystander.expect("no cause touches every service"));
            let judged = answer(bystander, kind);
            assert_ne!(judged.correct, Some(true), "{id}: {bystander} has nothing to do with it: {judged:#?}");
        }
        let judged = answer(place, kind);
        assert_eq!(judged.correct, Some(true), "{id}: {place} {kind} is the cause, by one of its names: {judged:#?}");
        tried.push((place, kind));
    }
}
