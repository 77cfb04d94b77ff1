-- Runs that wait for a worker on any host, the batches that they belong to, and what they tell on the way.

CREATE TABLE batches (
    id             uuid PRIMARY KEY,
    user_id        text NOT NULL,
    source         text NOT NULL,
    fingerprint    text NOT NULL,
    quote_low_usd  numeric(20, 12) NOT NULL,
    quote_high_usd numeric(20, 12) NOT NULL,
    created_at     timestamptz NOT NULL
);
CREATE INDEX batches_by_user ON batches (user_id, created_at DESC);
COMMENT ON COLUMN batches.source IS 'The file that the briefs came from, or - for standard input.';
COMMENT ON COLUMN batches.fingerprint IS 'SHA-256 of what the rows ask for: the same rows are found again and not paid for twice.';

-- No reference: the operations journal brings runs back, and knows nothing of batches.
ALTER TABLE runs ADD COLUMN batch_id uuid;
ALTER TABLE runs ADD COLUMN batch_line integer;
ALTER TABLE runs ADD COLUMN queued_at timestamptz;
ALTER TABLE runs ADD COLUMN queue_place integer NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN queue_after timestamptz;
ALTER TABLE runs ADD COLUMN queue_tries integer NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN stop_asked boolean NOT NULL DEFAULT false;
ALTER TABLE runs ADD COLUMN request_key text;
CREATE UNIQUE INDEX runs_by_request ON runs (user_id, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX runs_queued ON runs (queued_at, queue_place, id) WHERE queued_at IS NOT NULL;
CREATE INDEX runs_by_batch ON runs (batch_id, batch_line) WHERE batch_id IS NOT NULL;
COMMENT ON COLUMN runs.queued_at IS 'Since when the run waits for a worker; stays while one drives it, NULL when it needs none any more.';
COMMENT ON COLUMN runs.queue_after IS 'A worker takes it up again no earlier than this.';
COMMENT ON COLUMN runs.queue_tries IS 'How often it was put back because of passing trouble.';
COMMENT ON COLUMN runs.request_key IS 'What the asking program calls its request: asked again, it finds this run instead of paying for another.';
COMMENT ON COLUMN runs.stop_asked IS 'Somebody has asked for the run to stop; whoever drives it sees that with its next heartbeat.';

-- What a queued run told, in order, so that anybody can follow it from any host.
CREATE TABLE run_events (
    run_id  uuid NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number  bigint GENERATED ALWAYS AS IDENTITY,
    told_at timestamptz NOT NULL,
    event   jsonb NOT NULL,
    PRIMARY KEY (run_id, number)
);

ALTER TABLE budgets DROP CONSTRAINT budgets_scope_check;
ALTER TABLE budgets ADD CONSTRAINT budgets_scope_check
    CHECK (scope IN ('run', 'run_language', 'batch', 'everything', 'user', 'campaign', 'provider'));
