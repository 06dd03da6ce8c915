-- Tokens with a name that an account makes for its programs; sessions are in `token`.
CREATE TABLE api_token (
    -- SHA-256 of the token, in hexadecimal; the token itself is never stored.
    hash TEXT NOT NULL PRIMARY KEY,
    -- What it is called by in the API; says nothing about the token.
    id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- Words with a space between them.
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    expires_at BIGINT
);

CREATE INDEX api_token_account ON api_token (account_id, id);

-- What is public, in the order in which it is listed.
CREATE INDEX pusher_shared ON pusher (kind, created_at, id) WHERE shared;
