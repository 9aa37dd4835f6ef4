CREATE TABLE IF NOT EXISTS queue_messages (
    seq           INTEGER PRIMARY KEY,
    queue         TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    body          TEXT    NOT NULL,
    attributes    TEXT    NOT NULL,            -- JSON: name -> {"DataType", "StringValue"}
    attempt       INTEGER NOT NULL DEFAULT 0,  -- how often it was handed out
    visible_at_ms INTEGER NOT NULL,            -- when nobody holds it any more, by queue_clock
    receipt       TEXT,                        -- of the present delivery, begins with seq; NULL once it is settled
    acked_at_ms   INTEGER,                     -- acked rows stay for a while, emptied, so that their ids are known
    UNIQUE (queue, id)
) STRICT;
-- Each index is a page more to write: receipts need none.
CREATE INDEX IF NOT EXISTS queue_messages_live ON queue_messages (queue, seq) WHERE acked_at_ms IS NULL;
CREATE INDEX IF NOT EXISTS queue_messages_acked ON queue_messages (queue, acked_at_ms) WHERE acked_at_ms IS NOT NULL;

-- The time of the queue, as the last writer left it. It begins as Unix time and goes on by monotonic clocks.
CREATE TABLE IF NOT EXISTS queue_clock (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    now_ms INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO queue_clock VALUES (1, unixepoch() * 1000);
