-- What 0007 left for the processes of before it: persons are counted over all businesses since (`people`).
ALTER TABLE recipients DROP COLUMN day;
ALTER TABLE recipients DROP COLUMN sent_today;
