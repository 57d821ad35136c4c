-- A number that an invoice brought along, from an uploaded file, is reserved like one of a series. It
-- belongs to none: its series is '' and its position 0.
--
-- Where two invoices share a number already, the older one holds it.
INSERT INTO numbers (organization, invoice, series, position, number, issued_on)
SELECT organization, id, '', 0, number, issued_on FROM invoices
WHERE number IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM numbers
    WHERE numbers.organization = invoices.organization AND numbers.invoice = invoices.id
)
ORDER BY created_at, id
ON CONFLICT DO NOTHING;
