-- The ledger: caps of every kind, what the prompt cache and reuse saved, who sends an operation,
-- and sums that answer for a month of a million charges in milliseconds.

-- Uploads are operations too. They are free, and are made anew instead of being recovered.
ALTER TABLE operations DROP CONSTRAINT operations_kind_check;
ALTER TABLE operations ADD CONSTRAINT operations_kind_check
    CHECK (kind IN ('language', 'embedding', 'upload', 'image', 'clip'));
ALTER TABLE operations ADD COLUMN owner text;
COMMENT ON COLUMN operations.owner IS 'The process that sends it: after its death, what it was sending is of unknown outcome.';
CREATE INDEX operations_by_user ON operations (user_id, kind, created_at DESC) WHERE shot_id IS NOT NULL;
CREATE INDEX operations_by_request ON operations (provider, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX operations_unsettled ON operations (user_id, created_at) WHERE state IN ('submitting', 'unknown');

ALTER TABLE runs ADD COLUMN estimate_usd numeric(20, 12);
COMMENT ON COLUMN runs.estimate_usd IS 'What the whole video was expected to cost before anything was paid, USD: the price of its shots and what words have cost before.';

ALTER TABLE charges ADD COLUMN cache_saved_usd numeric(20, 12) NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN cache_premium_usd numeric(20, 12) NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN reuse_saved_usd numeric(20, 12) NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN billed_at timestamptz;
ALTER TABLE charges ADD COLUMN bill_note text;
COMMENT ON COLUMN charges.cache_saved_usd IS 'What the tokens read from the prompt cache would have cost more as uncached input, USD.';
COMMENT ON COLUMN charges.cache_premium_usd IS 'What writing tokens to the prompt cache cost more than uncached input, USD.';
COMMENT ON COLUMN charges.reuse_saved_usd IS 'The price of what was not bought because a kept take was used again, USD.';
COMMENT ON COLUMN charges.billed_usd IS 'What the provider says it billed, USD. Null where it has not been asked or does not tell.';
COMMENT ON COLUMN charges.bill_note IS 'How the bill was read, and why it differs from what was settled where it does.';
CREATE INDEX charges_unbilled ON charges (provider, created_at) WHERE billed_usd IS NULL;

-- A cap is a limit on some spend (everything, a user's, a campaign's, a provider's, a run's) in
-- every day or month of its time zone, or in all.
ALTER TABLE budgets DROP CONSTRAINT budgets_scope_check;
ALTER TABLE budgets DROP CONSTRAINT budgets_scope_subject_key;
ALTER TABLE budgets ADD COLUMN period text NOT NULL DEFAULT 'total' CHECK (period IN ('total', 'month', 'day'));
ALTER TABLE budgets ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC';
ALTER TABLE budgets ADD CONSTRAINT budgets_scope_check
    CHECK (scope IN ('run', 'run_language', 'everything', 'user', 'campaign', 'provider'));
ALTER TABLE budgets ADD CONSTRAINT budgets_scope_subject_period_key UNIQUE (scope, subject, period);
COMMENT ON COLUMN budgets.subject IS 'What the cap is for: the id of a run or campaign, the name of a user or provider, empty for everything.';
COMMENT ON COLUMN budgets.time_zone IS 'The zone in which days and months begin.';

-- Sums of the charges by quarter of an hour: the finest offset of any time zone, so that days of
-- every zone can be put together from them. Kept by triggers, in the transaction of the charge.
CREATE TABLE charge_sums (
    quarter_hour          timestamptz NOT NULL,
    user_id               text NOT NULL,
    component             text NOT NULL,
    provider              text NOT NULL,
    model                 text NOT NULL,
    calls                 bigint NOT NULL,
    unknown_calls         bigint NOT NULL,
    settled_usd           numeric NOT NULL,
    unknown_usd           numeric NOT NULL,
    wasted_usd            numeric NOT NULL,
    estimated_usd         numeric NOT NULL,
    billed_usd            numeric NOT NULL,
    billed_settled_usd    numeric NOT NULL,
    cache_saved_usd       numeric NOT NULL,
    cache_premium_usd     numeric NOT NULL,
    reuse_saved_usd       numeric NOT NULL,
    uncached_input_tokens bigint NOT NULL,
    cache_write_5m_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    cache_read_tokens     bigint NOT NULL,
    output_tokens         bigint NOT NULL,
    embedding_tokens      bigint NOT NULL,
    images                bigint NOT NULL,
    video_seconds         bigint NOT NULL,
    PRIMARY KEY (quarter_hour, user_id, component, provider, model)
);
COMMENT ON TABLE charge_sums IS 'Sums of charges by quarter of an hour, UTC. Written by the triggers on charges alone.';
COMMENT ON COLUMN charge_sums.billed_settled_usd IS 'Settled for those charges whose bill is known: what billed_usd is to be compared with.';

CREATE FUNCTION aida_quarter_hour(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_timestamp(floor(extract(epoch FROM moment) / 900) * 900);

-- The statement that adds some charges to the sums. `changed` selects charges with a `sign`: 1 for
-- what they are, -1 for what they were. Rows are added in order, so that two statements never wait
-- for each other crosswise.
CREATE FUNCTION aida_add_to_sums(changed text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'INSERT INTO charge_sums AS known
        SELECT aida_quarter_hour(created_at), user_id, component, provider, model,
               sum(sign),
               coalesce(sum(sign) FILTER (WHERE state = ''unknown''), 0),
               coalesce(sum(sign * settled_usd), 0),
               coalesce(sum(sign * reserved_usd) FILTER (WHERE state = ''unknown''), 0),
               coalesce(sum(sign * settled_usd) FILTER (WHERE wasted), 0),
               sum(sign * estimated_usd),
               coalesce(sum(sign * billed_usd), 0),
               coalesce(sum(sign * settled_usd) FILTER (WHERE billed_usd IS NOT NULL), 0),
               sum(sign * cache_saved_usd), sum(sign * cache_premium_usd), sum(sign * reuse_saved_usd),
               sum(sign * uncached_input_tokens), sum(sign * cache_write_5m_tokens),
               sum(sign * cache_write_1h_tokens), sum(sign * cache_read_tokens), sum(sign * output_tokens),
               sum(sign * embedding_tokens), sum(sign * images), sum(sign * video_seconds)
        FROM (' || changed || ') AS changed
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (quarter_hour, user_id, component, provider, model) DO UPDATE SET
               calls = known.calls + excluded.calls,
               unknown_calls = known.unknown_calls + excluded.unknown_calls,
               settled_usd = known.settled_usd + excluded.settled_usd,
               unknown_usd = known.unknown_usd + excluded.unknown_usd,
               wasted_usd = known.wasted_usd + excluded.wasted_usd,
               estimated_usd = known.estimated_usd + excluded.estimated_usd,
               billed_usd = known.billed_usd + excluded.billed_usd,
               billed_settled_usd = known.billed_settled_usd + excluded.billed_settled_usd,
               cache_saved_usd = known.cache_saved_usd + excluded.cache_saved_usd,
               cache_premium_usd = known.cache_premium_usd + excluded.cache_premium_usd,
               reuse_saved_usd = known.reuse_saved_usd + excluded.reuse_saved_usd,
               uncached_input_tokens = known.uncached_input_tokens + excluded.uncached_input_tokens,
               cache_write_5m_tokens = known.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
               cache_write_1h_tokens = known.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
               cache_read_tokens = known.cache_read_tokens + excluded.cache_read_tokens,
               output_tokens = known.output_tokens + excluded.output_tokens,
               embedding_tokens = known.embedding_tokens + excluded.embedding_tokens,
               images = known.images + excluded.images,
               video_seconds = known.video_seconds + excluded.video_seconds';

CREATE FUNCTION aida_keep_sums() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        TRUNCATE charge_sums;
    ELSE
        EXECUTE aida_add_to_sums(CASE TG_OP
            WHEN 'INSERT' THEN 'SELECT 1 AS sign, * FROM new_rows'
            WHEN 'DELETE' THEN 'SELECT -1 AS sign, * FROM old_rows'
            ELSE 'SELECT -1 AS sign, * FROM old_rows UNION ALL SELECT 1, * FROM new_rows' END);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER charges_inserted AFTER INSERT ON charges
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION aida_keep_sums();
CREATE TRIGGER charges_updated AFTER UPDATE ON charges
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION aida_keep_sums();
CREATE TRIGGER charges_deleted AFTER DELETE ON charges
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION aida_keep_sums();
CREATE TRIGGER charges_truncated AFTER TRUNCATE ON charges
    FOR EACH STATEMENT EXECUTE FUNCTION aida_keep_sums();
DO $$ BEGIN EXECUTE aida_add_to_sums('SELECT 1 AS sign, * FROM charges'); END $$;
