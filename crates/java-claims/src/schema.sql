CREATE TABLE IF NOT EXISTS claims (
    claim_id    TEXT PRIMARY KEY,
    submission  TEXT NOT NULL,
    decision    TEXT NOT NULL,
    fraud_check TEXT,
    accepted_at TEXT NOT NULL
) STRICT;

-- Messages that were accepted with their claims and wait to be published.
CREATE TABLE IF NOT EXISTS outbox (
    number     INTEGER PRIMARY KEY, -- the claim's own: the newest claim is always kept, so none is given twice
    claim_id   TEXT NOT NULL,
    body       TEXT NOT NULL,
    attributes TEXT
) STRICT;
