-- The cluster's book. Times are microseconds since 1970, by this server's clock.
CREATE TABLE cluster_nodes (
    -- One start of a node.
    boot       uuid    NOT NULL PRIMARY KEY,
    name       text    COLLATE "C" NOT NULL,
    address    text    NOT NULL,
    http       text    NOT NULL,
    version    text    NOT NULL,
    wire_from  bigint  NOT NULL,
    wire_to    bigint  NOT NULL,
    joined_at  bigint  NOT NULL,
    expires_at bigint  NOT NULL,
    draining   boolean NOT NULL,
    -- Why it is no longer a node; then it never is one again.
    gone       text    COLLATE "C"
);

CREATE UNIQUE INDEX cluster_nodes_by_name ON cluster_nodes (name) WHERE gone IS NULL;

CREATE TABLE cluster_shards (
    shard bigint NOT NULL PRIMARY KEY,
    owner uuid   REFERENCES cluster_nodes (boot),
    -- Of this owner, or of the last one; it only grows.
    epoch bigint NOT NULL
);

CREATE INDEX cluster_shards_of_owner ON cluster_shards (owner) WHERE owner IS NOT NULL;

INSERT INTO cluster_shards (shard, owner, epoch) SELECT shard, NULL, 1 FROM generate_series(0, 255) AS shard;
