-- A mark of the cookie with which a node links to others; empty: it was not said.
ALTER TABLE cluster_nodes ADD COLUMN cookie_mark text NOT NULL DEFAULT '';
