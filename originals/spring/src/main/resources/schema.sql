CREATE TABLE IF NOT EXISTS claims (
    claim_id    TEXT PRIMARY KEY,
    submission  TEXT NOT NULL,
    decision    TEXT NOT NULL,
    fraud_check TEXT
) STRICT;
