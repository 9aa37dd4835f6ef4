CREATE TABLE IF NOT EXISTS queue_messages (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    queue         TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    body          TEXT    NOT NULL,
    attributes    TEXT    NOT NULL,            -- JSON: name -> {"DataType", "StringValue"}
    attempt       INTEGER NOT NULL DEFAULT 0,  -- how often it was handed out
    visible_at_ms INTEGER NOT NULL,            -- when nobody holds it any more, in Unix time
    receipt       TEXT    UNIQUE,              -- of the present delivery; NULL once it is settled
    acked_at_ms   INTEGER,                     -- acked rows stay for a while, emptied, so that their ids are known
    UNIQUE (queue, id)
) STRICT;
CREATE INDEX IF NOT EXISTS queue_messages_live ON queue_messages (queue, seq) WHERE acked_at_ms IS NULL;
CREATE INDEX IF NOT EXISTS queue_messages_acked ON queue_messages (queue, acked_at_ms) WHERE acked_at_ms IS NOT NULL;
