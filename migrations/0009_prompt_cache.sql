-- The books of the prompt cache: what of each prompt was remembered from earlier calls, for how long
-- the rest was asked to be remembered, and what broke the cache where it was not read. Fingerprints
-- and lengths only; what a prompt says is not kept here.

CREATE TABLE prompt_cache_calls (
    operation_id    uuid PRIMARY KEY REFERENCES operations (id) ON DELETE CASCADE,
    user_id         text NOT NULL,
    project_id      uuid,
    component       text NOT NULL,
    provider        text NOT NULL,
    model           text NOT NULL,
    started_at      timestamptz NOT NULL,
    answered_at     timestamptz,
    aida_version    text NOT NULL,
    settings        text NOT NULL,
    tools           text NOT NULL,
    system          text NOT NULL,
    prefix          text NOT NULL,
    opening         text NOT NULL,
    turn            integer NOT NULL,
    blocks          integer NOT NULL,
    bytes           bigint NOT NULL,
    marks           jsonb NOT NULL,
    uncached_tokens bigint,
    written_tokens  bigint,
    read_tokens     bigint,
    reason          text,
    detail          jsonb
);
COMMENT ON TABLE prompt_cache_calls IS 'One row for each language call: fingerprints (the first 16 hex digits of SHA-256) and lengths of its prompt, and what the cache made of it. No text.';
COMMENT ON COLUMN prompt_cache_calls.settings IS 'Fingerprint of thinking, effort, tool choice and whether there are pictures: all that the key depends on beside the texts.';
COMMENT ON COLUMN prompt_cache_calls.prefix IS 'Fingerprint of model, tools and system text: what all calls of a team share.';
COMMENT ON COLUMN prompt_cache_calls.opening IS 'Fingerprint of the first message: what tells one conversation from another.';
COMMENT ON COLUMN prompt_cache_calls.marks IS 'The places that may be remembered, in order: fingerprint up to there, length, minutes (null where it was not worth it), and the waits that this was chosen from.';
COMMENT ON COLUMN prompt_cache_calls.reason IS 'What became of the cache since the last call. Null while the call is under way, and for one whose reply was lost.';
CREATE INDEX prompt_cache_calls_by_prefix ON prompt_cache_calls (prefix, started_at DESC);
CREATE INDEX prompt_cache_calls_by_agent ON prompt_cache_calls (component, user_id, started_at DESC);
CREATE INDEX prompt_cache_calls_by_project ON prompt_cache_calls (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX prompt_cache_calls_by_time ON prompt_cache_calls (started_at);

-- How often which reason was met, by quarter of an hour, as charge_sums has the charges. Kept by
-- the trigger alone, in the transaction in which a call is answered.
CREATE TABLE prompt_cache_sums (
    quarter_hour timestamptz NOT NULL,
    user_id      text NOT NULL,
    component    text NOT NULL,
    provider     text NOT NULL,
    reason       text NOT NULL,
    calls        bigint NOT NULL,
    openings     bigint NOT NULL,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (quarter_hour, user_id, component, provider, reason)
);
COMMENT ON TABLE prompt_cache_sums IS 'Answered calls of prompt_cache_calls by quarter of an hour, UTC. Written by its trigger alone.';
COMMENT ON COLUMN prompt_cache_sums.openings IS 'Those that were the first turn of a conversation.';

CREATE FUNCTION aida_keep_prompt_cache_sums() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO prompt_cache_sums AS known
    VALUES (aida_quarter_hour(NEW.started_at), NEW.user_id, NEW.component, NEW.provider, NEW.reason, 1,
            CASE WHEN NEW.turn = 0 THEN 1 ELSE 0 END, NEW.started_at)
    ON CONFLICT (quarter_hour, user_id, component, provider, reason) DO UPDATE SET
        calls = known.calls + 1,
        openings = known.openings + excluded.openings,
        last_at = greatest(known.last_at, excluded.last_at);
    RETURN NULL;
END $$;

CREATE TRIGGER prompt_cache_calls_answered AFTER UPDATE OF reason ON prompt_cache_calls
    FOR EACH ROW WHEN (OLD.reason IS NULL AND NEW.reason IS NOT NULL)
    EXECUTE FUNCTION aida_keep_prompt_cache_sums();
