//! Claims, and the outbox beside them, in SQLite.

use opentelemetry::trace::{FutureExt, Status, TraceContextExt};
use service::ClaimId;
use service::contract::{Claim, FraudCheck};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use telemetry::db::{Statement, sqlite};
use telemetry::messaging::Attributes;

use crate::outbound::Outbound;
use crate::seams::OutboxAttributes;

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
}

/// What became of an insertion.
#[derive(Debug)]
pub(crate) enum Inserted {
    /// The claim is kept now.
    Now,
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
    pub(crate) async fn open(url: &str) -> Result<Self, sqlx::Error> {
        let options = url
            .parse::<SqliteConnectOptions>()?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on the disk when it returns: what was accepted stays accepted.
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await?;
        Ok(Self { pool })
    }

    /// Keeps a claim and the message about it, both or neither.
    pub(crate) async fn insert(&self, claim: &Claim, mode: OutboxAttributes) -> Result<Inserted, sqlx::Error> {
        const CLAIM: &str = "INSERT INTO claims (claim_id, submission, decision, accepted_at) VALUES (?, ?, ?, ?) \
                             ON CONFLICT (claim_id) DO NOTHING";
        const MESSAGE: &str = "INSERT INTO outbox (claim_id, body, attributes) VALUES (?, ?, ?)";
        // The writer's lock is taken at the start, so that a transaction never fails half way for want of it.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let insert_claim = sqlx::query(CLAIM)
            .bind(claim.claim_id.as_str())
            .bind(json(&claim.submission)?)
            .bind(json(&claim.decision)?)
            .bind(jiff::Timestamp::now().to_string());
        let inserted = sqlite(statement("INSERT", "claims", CLAIM), insert_claim.execute(&mut *transaction)).await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(self.find(&claim.claim_id).await?.map_or(Inserted::Now, Inserted::Before));
        }
        let Outbound { body, attributes, cx } = Outbound::new(mode, claim).map_err(encode)?;
        let insert_message = sqlx::query(MESSAGE)
            .bind(claim.claim_id.as_str())
            .bind(body)
            .bind(attributes.as_ref().map(json).transpose()?);
        let sent = async {
            sqlite(statement("INSERT", "outbox", MESSAGE), insert_message.execute(&mut *transaction)).await?;
            transaction.commit().await
        };
        let sent = sent.with_context(cx.clone()).await;
        if let Err(error) = &sent {
            cx.span().set_status(Status::error(error.to_string()));
        }
        cx.span().end();
        sent.map(|()| Inserted::Now)
    }

    pub(crate) async fn find(&self, claim_id: &ClaimId) -> Result<Option<Claim>, sqlx::Error> {
        const TEXT: &str = "SELECT submission, decision, fraud_check FROM claims WHERE claim_id = ?";
        let query = sqlx::query(TEXT).bind(claim_id.as_str());
        let row = sqlite(statement("SELECT", "claims", TEXT), query.fetch_optional(&self.pool)).await?;
        let claim = |row: SqliteRow| -> Result<Claim, sqlx::Error> {
            Ok(Claim {
                claim_id: claim_id.clone(),
                submission: read(row.try_get("submission")?)?,
                decision: read(row.try_get("decision")?)?,
                fraud_check: row.try_get::<Option<&str>, _>("fraud_check")?.map(read).transpose()?,
            })
        };
        row.map(claim).transpose()
    }

    /// Records what a fraud check found, unless another finding was recorded before; whether it holds now.
    pub(crate) async fn record(&self, claim_id: &ClaimId, check: FraudCheck) -> Result<bool, sqlx::Error> {
        const TEXT: &str = "UPDATE claims SET fraud_check = ? WHERE claim_id = ? AND coalesce(fraud_check, ?) = ?";
        let check = json(&check)?;
        let query = sqlx::query(TEXT).bind(&check).bind(claim_id.as_str()).bind(&check).bind(&check);
        let updated = sqlite(statement("UPDATE", "claims", TEXT), query.execute(&self.pool)).await?;
        Ok(updated.rows_affected() == 1)
    }

    /// The oldest messages of the outbox. Without spans, since nobody's request asks for it.
    pub(crate) async fn waiting(&self, most: usize) -> Result<Vec<Waiting>, sqlx::Error> {
        let query = sqlx::query("SELECT number, claim_id, body, attributes FROM outbox ORDER BY number LIMIT ?");
        let rows = query.bind(i64::try_from(most).unwrap_or(i64::MAX)).fetch_all(&self.pool).await?;
        let waiting = |row: &SqliteRow| {
            Ok(Waiting {
                number: row.try_get("number")?,
                claim_id: row.try_get("claim_id")?,
                body: row.try_get("body")?,
                attributes: row.try_get::<Option<&str>, _>("attributes")?.map(read).transpose()?,
            })
        };
        rows.iter().map(waiting).collect()
    }

    /// How many messages the outbox holds.
    pub(crate) async fn count_waiting(&self) -> Result<u64, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&self.pool).await
    }

    pub(crate) async fn published(&self, number: i64) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM outbox WHERE number = ?").bind(number).execute(&self.pool).await.map(drop)
    }
}

fn statement(operation: &'static str, collection: &'static str, text: &'static str) -> Statement {
    Statement { namespace: "claims", operation, collection, text }
}

fn json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(encode)
}

fn encode(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Encode(Box::new(error))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
