-- Delivered webhooks, to find those that are old enough to be forgotten.
CREATE INDEX inbox_delivered ON inbox (received_at)
    WHERE delivered;
