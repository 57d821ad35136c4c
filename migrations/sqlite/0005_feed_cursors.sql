-- How far each reader of the whole feed, such as the publisher to Kafka, has come.
CREATE TABLE feed_cursors (
    reader   TEXT    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
