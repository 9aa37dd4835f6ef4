CREATE TABLE IF NOT EXISTS policies (
    policy_id        TEXT PRIMARY KEY,
    holder           TEXT NOT NULL,
    product          TEXT NOT NULL,
    valid_from       TEXT NOT NULL,
    valid_until      TEXT NOT NULL,
    limit_cents      INTEGER NOT NULL,
    deductible_cents INTEGER NOT NULL
) STRICT;

INSERT OR REPLACE INTO policies VALUES
    ('POL-1001', 'Ada Lovelace',      'home',      '2020-01-01', '2099-12-31',   5000000,  25000),
    ('POL-1002', 'Grace Hopper',      'car',       '2021-06-01', '2099-12-31',   3000000,  50000),
    ('POL-1003', 'Alan Turing',       'bicycle',   '2022-03-15', '2099-12-31',    200000,   5000),
    ('POL-1004', 'Edsger Dijkstra',   'liability', '2019-11-01', '2099-12-31', 100000000,      0),
    ('POL-1005', 'Barbara Liskov',    'home',      '2023-02-01', '2099-12-31',   7500000,  30000),
    ('POL-1006', 'Donald Knuth',      'contents',  '2020-07-01', '2099-12-31',   1500000,  15000),
    ('POL-1007', 'Frances Allen',     'travel',    '2024-01-01', '2099-12-31',    500000,  10000),
    ('POL-1008', 'Tony Hoare',        'car',       '2018-05-01', '2099-12-31',   2000000, 100000),
    ('POL-1009', 'Radia Perlman',     'equipment', '2022-09-01', '2099-12-31',    800000,  20000),
    ('POL-1010', 'Leslie Lamport',    'home',      '2021-01-01', '2099-12-31',   6000000,  40000),
    ('POL-2001', 'Charles Babbage',   'home',      '2015-01-01', '2020-12-31',   4000000,  25000),
    ('POL-2002', 'Konrad Zuse',       'car',       '2016-04-01', '2022-03-31',   2500000,  50000),
    ('POL-2003', 'Hedy Lamarr',       'travel',    '2019-06-01', '2023-05-31',    300000,  10000),
    ('POL-3001', 'Katherine Johnson', 'home',      '2090-01-01', '2099-12-31',   9000000,  25000);
