-- What customers owe in all.

ALTER TABLE invoices ADD COLUMN open_amount INTEGER NOT NULL DEFAULT 0;
UPDATE invoices SET open_amount = json_extract(record, '$.open_amount');
CREATE INDEX open_invoices_of_a_customer ON invoices (source_id, customer_id) WHERE is_open;
