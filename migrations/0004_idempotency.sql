-- What pushes with an Idempotency-Key were first answered, for as long as a repeated call gets the same answer.
CREATE TABLE idempotency (
    -- SHA-256 of account, Pusher and key, in hexadecimal; the key itself is never stored.
    hash TEXT NOT NULL PRIMARY KEY,
    -- The answer and what the call was, as sealed JSON.
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX idempotency_end ON idempotency (expires_at);
