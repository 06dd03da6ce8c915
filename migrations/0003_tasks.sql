-- A task is the record of a delivery, its queue entry and its lease in one row.
CREATE TABLE task (
    -- The push's id and one more character for the position in it.
    id TEXT NOT NULL PRIMARY KEY,
    -- The account that owns the Pusher; for a push straight to a Service, the caller's.
    owner TEXT NOT NULL,
    pusher_id TEXT NOT NULL,
    service TEXT NOT NULL,
    -- The member's name in a Group.
    name TEXT,
    fallback BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    -- Account and destination host: the unit in which concurrency is limited.
    lane TEXT NOT NULL,
    run_at BIGINT NOT NULL,
    -- Resolved parameters, as sealed JSON.
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Attempts begun; with the worker it fences the finish.
    attempt BIGINT NOT NULL DEFAULT 0,
    -- Attempts begun before it was last retried by hand: the back-off counts from there.
    attempt_base BIGINT NOT NULL DEFAULT 0,
    worker TEXT,
    lease_until BIGINT,
    started_at BIGINT,
    finished_at BIGINT,
    error_code TEXT,
    error_message TEXT,
    -- JSON array, one object an attempt.
    attempt_log TEXT NOT NULL DEFAULT '[]'
);

CREATE INDEX task_due ON task (lane, run_at, id) WHERE state = 'waiting';
CREATE INDEX task_lease ON task (lease_until) WHERE state = 'running';
CREATE INDEX task_finished ON task (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX task_owner ON task (owner, id);
