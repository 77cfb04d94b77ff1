-- Named locks: of several cron jobs that must not run at once, one does.

CREATE TABLE locks (
    user_id     text NOT NULL,
    name        text NOT NULL,
    owner       text NOT NULL,
    owner_until timestamptz NOT NULL,
    taken_at    timestamptz NOT NULL,
    PRIMARY KEY (user_id, name)
);
COMMENT ON COLUMN locks.owner IS 'The process that holds the lock; owner_until is its lease.';
