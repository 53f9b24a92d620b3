-- Where the ledger stood when a binary last looked: a dump that was put back stands elsewhere, and knows nothing of what was sent since.
ALTER TABLE ledger ADD COLUMN stands_in TEXT;
