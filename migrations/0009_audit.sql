-- Who did what, when, from where. It outlives accounts and Pushers, so it refers to none.
CREATE TABLE audit (
    -- Sorts by time.
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    action TEXT NOT NULL,
    -- Who did it; nobody known for a login that failed.
    actor TEXT,
    -- The API token that it was done with.
    token TEXT,
    -- The address that it came from.
    origin TEXT,
    -- Whose affairs it concerns.
    account_id TEXT,
    -- What it was done to, and what that was called then.
    target TEXT,
    name TEXT
);

CREATE INDEX audit_account ON audit (account_id, id);
CREATE INDEX audit_actor ON audit (actor, id);
