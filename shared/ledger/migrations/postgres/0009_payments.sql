-- What a payment template gets in place of variables (JSON), and the media of a template's header: `#areceber_link#` or an address.
ALTER TABLE notices ADD COLUMN payment TEXT CONSTRAINT a_payment_notice_has_no_variables CHECK (payment IS NULL OR variables = '');
ALTER TABLE notices ADD COLUMN media TEXT;

-- The address that the header's media of a message has; its payment is an object where `variables` is a list without one.
ALTER TABLE message_texts ADD COLUMN media TEXT;
