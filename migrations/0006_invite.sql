-- Codes that people sign up with.
CREATE TABLE invite (
    code TEXT NOT NULL PRIMARY KEY,
    -- auto, referer or admin.
    kind TEXT NOT NULL,
    -- Who made it; nobody for auto.
    made_by TEXT REFERENCES account (id) ON DELETE CASCADE,
    -- The one address that may use it, in the spelling that is compared.
    email_key TEXT,
    -- Accounts that it was made for, and how many of them are left.
    times BIGINT NOT NULL,
    left_over BIGINT NOT NULL,
    valid_to BIGINT,
    source TEXT,
    created_at BIGINT NOT NULL
);

CREATE INDEX invite_made_by ON invite (made_by, created_at, code);
CREATE INDEX invite_created_at ON invite (created_at, code);
CREATE INDEX invite_email ON invite (email_key) WHERE kind = 'auto';
CREATE INDEX invite_valid_to ON invite (valid_to) WHERE valid_to IS NOT NULL;

-- How an account came to be. The inviter's id stays when the inviter has gone.
ALTER TABLE account ADD COLUMN invited_by TEXT;
ALTER TABLE account ADD COLUMN invite_code TEXT;
ALTER TABLE account ADD COLUMN source TEXT;
-- Tasks a day, if not as many as everybody's.
ALTER TABLE account ADD COLUMN quota BIGINT;

CREATE INDEX account_created_at ON account (created_at, id);
CREATE INDEX account_unconfirmed ON account (created_at) WHERE confirmed_at IS NULL;
