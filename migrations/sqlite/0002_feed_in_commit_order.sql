-- An event gets its place in the feed with the commit that it tells of: the one writer's order is
-- the feed's order, so that no second transaction has to move it there.

CREATE TABLE events (
    sequence     INTEGER PRIMARY KEY,
    organization BLOB    NOT NULL,
    invoice      BLOB    NOT NULL,
    version      INTEGER NOT NULL,
    event_id     BLOB    NOT NULL
) STRICT;

INSERT INTO events (organization, invoice, version, event_id)
    SELECT organization, invoice, version, event_id FROM feed ORDER BY organization, position;
INSERT INTO events (organization, invoice, version, event_id)
    SELECT organization, invoice, version, event_id FROM outbox
    WHERE event_id NOT IN (SELECT event_id FROM feed) ORDER BY sequence;

DROP TABLE outbox;
DROP TABLE feed;
ALTER TABLE events RENAME TO feed;

CREATE INDEX feed_of_organization ON feed (organization, sequence);
CREATE UNIQUE INDEX feed_by_event ON feed (event_id);
