//! Claims, and the outbox beside them, in SQLite.

use database::rusqlite::types::Type;
use database::rusqlite::{self, Connection, OptionalExtension, Row, params};
use database::{Database, Error, OpenError};
use service::ClaimId;
use service::contract::{Claim, FraudCheck};
use telemetry::db::{Statement, in_context, sqlite};
use telemetry::messaging::Attributes;

use crate::outbound::{Creation, Outbound};
use crate::seams::OutboxAttributes;

/// The newest claims that are kept, some 150 MB; beyond them the oldest whose fraud check is done are forgotten.
const KEPT_CLAIMS: i64 = 200_000;
/// Every so many claims it is looked whether some can be forgotten, twice as many at most.
const FORGET_EVERY: i64 = 256;

#[derive(Clone, Debug)]
pub(crate) struct Store {
    database: Database,
    /// [`KEPT_CLAIMS`], but in tests.
    kept_claims: i64,
}

/// What became of an insertion.
#[derive(Debug)]
pub(crate) enum Inserted {
    /// The claim is kept now, and this message about it.
    Now(Waiting),
    /// A claim with this id was there.
    Before(Claim),
}

/// A row of the outbox.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) number: i64,
    pub(crate) claim_id: String,
    pub(crate) body: String,
    pub(crate) attributes: Option<Attributes>,
}

// === impl Store ===

impl Store {
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_keeping(url, KEPT_CLAIMS).await
    }

    async fn open_keeping(url: &str, kept_claims: i64) -> Result<Self, OpenError> {
        Ok(Self { database: Database::open(url, include_str!("schema.sql")).await?, kept_claims })
    }

    /// Why nothing can be written now, if so.
    pub(crate) async fn trouble(&self) -> Option<String> {
        self.database.trouble().await
    }

    /// Keeps a claim and the message about it, both or neither; on the disk when this returns.
    pub(crate) async fn insert(&self, claim: &Claim, mode: OutboxAttributes) -> Result<Inserted, Error> {
        let (claim, kept_claims) = (claim.clone(), self.kept_claims);
        let insert = move |db: &Connection| insert(db, &claim, mode, kept_claims);
        match self.database.write(in_context(insert)).await? {
            Ok((creation, message)) => {
                creation.committed();
                Ok(Inserted::Now(message))
            }
            Err(kept) => Ok(Inserted::Before(kept)),
        }
    }

    pub(crate) async fn find(&self, claim_id: &ClaimId) -> Result<Option<Claim>, Error> {
        let claim_id = claim_id.clone();
        self.database.read(in_context(move |db: &Connection| find(db, &claim_id))).await
    }

    /// Records the result of a fraud check, unless another result was recorded before; returns whether it is the recorded one.
    pub(crate) async fn record(&self, claim_id: &ClaimId, check: FraudCheck) -> Result<bool, Error> {
        const TEXT: &str = "UPDATE claims SET fraud_check = ? WHERE claim_id = ? AND coalesce(fraud_check, ?) = ?";
        let (claim_id, check) = (claim_id.clone(), json(&check)?);
        let update = move |db: &Connection| {
            let run = || db.prepare_cached(TEXT)?.execute(params![check, claim_id.as_str(), check, check]);
            sqlite(statement("UPDATE", "claims", TEXT), run)
        };
        Ok(self.database.write(in_context(update)).await? == 1)
    }

    /// The oldest messages of the outbox with a number above `after`. Without spans, since no request causes it.
    pub(crate) async fn waiting(&self, after: i64, most: usize) -> Result<Vec<Waiting>, Error> {
        const TEXT: &str =
            "SELECT number, claim_id, body, attributes FROM outbox WHERE number > ? ORDER BY number LIMIT ?";
        let waiting = |row: &Row<'_>| {
            let attributes: Option<String> = row.get(3)?;
            Ok(Waiting {
                number: row.get(0)?,
                claim_id: row.get(1)?,
                body: row.get(2)?,
                attributes: attributes.map(|text| read(3, &text)).transpose()?,
            })
        };
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.database.read(move |db| db.prepare_cached(TEXT)?.query_map([after, most], waiting)?.collect()).await
    }

    /// How many messages with a number above `after` the outbox holds.
    pub(crate) async fn count_waiting(&self, after: i64) -> Result<u64, Error> {
        const TEXT: &str = "SELECT count(*) FROM outbox WHERE number > ?";
        self.database.read(move |db| db.prepare_cached(TEXT)?.query_row([after], |row| row.get(0))).await
    }

    /// Forgets messages that were published. If this process is killed before, they are published again; the queue knows their
    /// ids.
    pub(crate) async fn forget_messages(&self, numbers: Vec<i64>) -> Result<(), Error> {
        let delete = move |db: &Connection| {
            let mut delete = db.prepare_cached("DELETE FROM outbox WHERE number = ?")?;
            numbers.iter().try_for_each(|number| delete.execute([number]).map(drop))
        };
        self.database.write_unsynced(delete).await
    }
}

/// The message that was created, or the claim with this id that was there.
fn insert(
    db: &Connection,
    claim: &Claim,
    mode: OutboxAttributes,
    kept_claims: i64,
) -> rusqlite::Result<Result<(Creation, Waiting), Claim>> {
    const CLAIM: &str = "INSERT INTO claims (claim_id, submission, decision, accepted_at) VALUES (?, ?, ?, ?) \
                         ON CONFLICT (claim_id) DO NOTHING";
    const MESSAGE: &str = "INSERT INTO outbox (number, claim_id, body, attributes) VALUES (?, ?, ?, ?)";
    let claim_id = claim.claim_id.as_str();
    let (submission, decision) = (json(&claim.submission)?, json(&claim.decision)?);
    let accepted_at = jiff::Timestamp::now().to_string();
    let run = || db.prepare_cached(CLAIM)?.execute([claim_id, &submission, &decision, &accepted_at]);
    if sqlite(statement("INSERT", "claims", CLAIM), run)? == 0 {
        return find(db, &claim.claim_id)?.map(Err).ok_or(rusqlite::Error::QueryReturnedNoRows);
    }
    let number = db.last_insert_rowid();
    forget(db, number, kept_claims)?;
    let Outbound { body, attributes, creation } = Outbound::new(mode, claim).map_err(encode)?;
    let stored = attributes.as_ref().map(json).transpose()?;
    let attached = creation.cx().clone().attach();
    let run = || db.prepare_cached(MESSAGE)?.execute(params![number, claim_id, body, stored]);
    sqlite(statement("INSERT", "outbox", MESSAGE), run)?;
    drop(attached);
    Ok(Ok((creation, Waiting { number, claim_id: claim_id.to_owned(), body, attributes })))
}

/// Forgets the oldest claims beyond those that are kept, now and then.
fn forget(db: &Connection, newest: i64, kept_claims: i64) -> rusqlite::Result<()> {
    const TEXT: &str = "DELETE FROM claims WHERE rowid IN (SELECT rowid FROM claims WHERE rowid <= ?1 \
                        AND fraud_check IS NOT NULL ORDER BY rowid LIMIT ?2)";
    if newest % FORGET_EVERY == 0 && newest > kept_claims {
        db.prepare_cached(TEXT)?.execute([newest - kept_claims, 2 * FORGET_EVERY])?;
    }
    Ok(())
}

fn find(db: &Connection, claim_id: &ClaimId) -> rusqlite::Result<Option<Claim>> {
    const TEXT: &str = "SELECT submission, decision, fraud_check FROM claims WHERE claim_id = ?";
    let claim = |row: &Row<'_>| {
        let (submission, decision, check): (String, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Claim {
            claim_id: claim_id.clone(),
            submission: read(0, &submission)?,
            decision: read(1, &decision)?,
            fraud_check: check.map(|text| read(2, &text)).transpose()?,
        })
    };
    let run = || db.prepare_cached(TEXT)?.query_row([claim_id.as_str()], claim).optional();
    sqlite(statement("SELECT", "claims", TEXT), run)
}

fn statement(operation: &'static str, collection: &'static str, text: &'static str) -> Statement {
    Statement { namespace: "claims", operation, collection, text }
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(encode)
}

fn encode(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn read<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

#[cfg(test)]
mod tests {
    use service::contract::{Decision, FraudFinding, Submission};
    use tokio::task::JoinSet;

    use super::*;

    const KEPT: i64 = 2 * FORGET_EVERY;
    const CLEAR: FraudCheck = FraudCheck { finding: FraudFinding::Clear };

    fn claim(number: i64) -> Claim {
        Claim {
            claim_id: format!("CLM-{number:032x}").parse().unwrap(),
            submission: Submission {
                policy_id: "POL-1001".to_owned(),
                claimant: "Ada".to_owned(),
                incident_date: "2025-06-15".parse().unwrap(),
                amount_cents: 20_000,
                description: "hail ".repeat(100),
            },
            decision: Decision::Approved { payout_cents: 10_000 },
            fraud_check: None,
        }
    }

    /// Inserts and checks claims of these numbers, but for the ones that `unchecked` names; some at a time, as in life.
    async fn insert(store: &Store, numbers: std::ops::Range<i64>, unchecked: fn(i64) -> bool) {
        const AT_ONCE: usize = 32;
        for first in numbers.clone().step_by(AT_ONCE) {
            let some = (first..numbers.end).take(AT_ONCE).map(|number| {
                let store = store.clone();
                async move {
                    let claim = claim(number);
                    store.insert(&claim, OutboxAttributes::Stored).await.unwrap();
                    if !unchecked(number) {
                        assert!(store.record(&claim.claim_id, CLEAR).await.unwrap(), "it is there");
                    }
                }
            });
            some.collect::<JoinSet<_>>().join_all().await;
        }
    }

    async fn publish_all(store: &Store) {
        let waiting = store.waiting(0, usize::MAX).await.unwrap();
        store.forget_messages(waiting.iter().map(|waiting| waiting.number).collect()).await.unwrap();
    }

    async fn ask(store: &Store, text: &'static str) -> i64 {
        store.database.read(move |db| db.query_row(text, (), |row| row.get(0))).await.unwrap()
    }

    #[tokio::test]
    async fn the_oldest_claims_are_forgotten_and_never_one_that_is_not_checked_yet() {
        const PAGES: &str = "SELECT page_count FROM pragma_page_count";
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("claims.db").display());
        let store = Store::open_keeping(&url, KEPT).await.unwrap();
        // Now and then one of the oldest is never checked.
        let is_unchecked = |number: i64| number % 100 == 7 && number < KEPT;
        insert(&store, 0..KEPT, is_unchecked).await;
        assert_eq!(ask(&store, "SELECT count(*) FROM claims").await, KEPT, "so many are kept");
        insert(&store, KEPT..3 * KEPT, is_unchecked).await;
        let messages = store.count_waiting(0).await.unwrap();
        assert_eq!(
            messages,
            3 * KEPT.cast_unsigned(),
            "a message goes when it is published, whatever becomes of its claim"
        );
        publish_all(&store).await;
        let pages = ask(&store, PAGES).await;
        insert(&store, 3 * KEPT..6 * KEPT, is_unchecked).await;

        let is_kept = async |number: i64| store.find(&claim(number).claim_id).await.unwrap().is_some();
        for number in (0..KEPT).filter(|number| is_unchecked(*number)) {
            assert!(is_kept(number).await, "claim {number} was accepted and is not checked yet");
        }
        for (number, kept) in [(0, false), (KEPT, false), (4 * KEPT, false), (5 * KEPT + KEPT / 2, true)] {
            assert_eq!(is_kept(number).await, kept, "claim {number} of {}, {KEPT} are kept", 6 * KEPT);
        }
        let count = ask(&store, "SELECT count(*) FROM claims").await;
        assert!((KEPT..KEPT + 2 * FORGET_EVERY).contains(&count), "{count} claims are there");
        let pages_now = ask(&store, PAGES).await;
        assert!(pages_now <= pages + pages / 4, "the file is used again: {pages} pages, then {pages_now}");
    }
}
