-- The cluster's book. Times are microseconds since 1970, by this host's clock.
CREATE TABLE cluster_nodes (
    -- One start of a node.
    boot       BLOB    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    http       TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    wire_from  INTEGER NOT NULL,
    wire_to    INTEGER NOT NULL,
    joined_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    draining   INTEGER NOT NULL,
    -- Why it is no longer a node; then it never is one again.
    gone       TEXT
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX cluster_nodes_by_name ON cluster_nodes (name) WHERE gone IS NULL;

CREATE TABLE cluster_shards (
    shard INTEGER NOT NULL PRIMARY KEY,
    owner BLOB REFERENCES cluster_nodes (boot),
    -- Of this owner, or of the last one; it only grows.
    epoch INTEGER NOT NULL
) STRICT;

CREATE INDEX cluster_shards_of_owner ON cluster_shards (owner) WHERE owner IS NOT NULL;

WITH RECURSIVE numbers (shard) AS (
    SELECT 0 UNION ALL SELECT shard + 1 FROM numbers WHERE shard < 255
)
INSERT INTO cluster_shards (shard, owner, epoch) SELECT shard, NULL, 1 FROM numbers;
