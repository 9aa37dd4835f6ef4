//! Claims in SQLite.

use service::ClaimId;
use service::contract::Claim;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use telemetry::db::{Statement, sqlite};

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

    pub(crate) async fn insert(&self, claim: &Claim) -> Result<Inserted, sqlx::Error> {
        const TEXT: &str = "INSERT INTO claims (claim_id, submission, decision, accepted_at) VALUES (?, ?, ?, ?) \
                            ON CONFLICT (claim_id) DO NOTHING";
        let query = sqlx::query(TEXT)
            .bind(claim.claim_id.as_str())
            .bind(json(&claim.submission)?)
            .bind(json(&claim.decision)?)
            .bind(jiff::Timestamp::now().to_string());
        let inserted = sqlite(statement("INSERT", TEXT), query.execute(&self.pool)).await?;
        match inserted.rows_affected() {
            0 => Ok(self.find(&claim.claim_id).await?.map_or(Inserted::Now, Inserted::Before)),
            _ => Ok(Inserted::Now),
        }
    }

    pub(crate) async fn find(&self, claim_id: &ClaimId) -> Result<Option<Claim>, sqlx::Error> {
        const TEXT: &str = "SELECT submission, decision FROM claims WHERE claim_id = ?";
        let query = sqlx::query(TEXT).bind(claim_id.as_str());
        let row = sqlite(statement("SELECT", TEXT), query.fetch_optional(&self.pool)).await?;
        row.map(|row| {
            Ok(Claim {
                claim_id: claim_id.clone(),
                submission: read(row.try_get("submission")?)?,
                decision: read(row.try_get("decision")?)?,
            })
        })
        .transpose()
    }
}

fn statement(operation: &'static str, text: &'static str) -> Statement {
    Statement { namespace: "claims", operation, collection: "claims", text }
}

fn json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
