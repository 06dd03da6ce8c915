-- A token that a login brought; other tokens have no row here.
CREATE TABLE session (
    -- By which its owner names it. It tells nothing of the token.
    id TEXT NOT NULL PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE REFERENCES token (hash) ON DELETE CASCADE,
    user_agent TEXT
);

INSERT INTO session (id, token_hash) SELECT SUBSTR(hash, 1, 26), hash FROM token;

-- What a link in a mail proves: that whoever follows it reads the mails of an address.
CREATE TABLE mail_token (
    -- SHA-256 of the token, in hexadecimal.
    hash TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- confirm, reset or change.
    purpose TEXT NOT NULL,
    -- The new address, for change.
    email TEXT,
    -- For confirm: the password that was given with the sign-up that this mail answers.
    password_hash TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX mail_token_account ON mail_token (account_id, purpose, created_at);
CREATE INDEX mail_token_expires_at ON mail_token (expires_at);

-- Accounts that are gone, until nothing of theirs is left.
CREATE TABLE removed_account (
    id TEXT NOT NULL PRIMARY KEY,
    removed_at BIGINT NOT NULL
);
