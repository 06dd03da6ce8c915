-- Presets and Groups; Services are files.
CREATE TABLE pusher (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- What it is made of, as sealed JSON: it may hold secrets.
    definition TEXT NOT NULL,
    protected BOOLEAN NOT NULL,
    shared BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX pusher_owner ON pusher (owner, created_at, id);

-- Who builds on whom: a Preset's base, and the base of every member of a Group.
CREATE TABLE pusher_base (
    pusher_id TEXT NOT NULL REFERENCES pusher (id) ON DELETE CASCADE,
    base_id TEXT NOT NULL,
    PRIMARY KEY (pusher_id, base_id)
);

CREATE INDEX pusher_base_base ON pusher_base (base_id, pusher_id);
