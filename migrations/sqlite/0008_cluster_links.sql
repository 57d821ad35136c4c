-- How many links to other nodes a node had when it renewed its lease last.
ALTER TABLE cluster_nodes ADD COLUMN links INTEGER NOT NULL DEFAULT 0;
