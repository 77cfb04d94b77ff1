-- The seven tables of the seed service by name, and aida's own beside them.

CREATE EXTENSION IF NOT EXISTS vector;

-- Full text with stemming on every server: the stock configurations need stop-word files
-- that the embedded server does not ship, and stop words in a brief carry meaning anyway.
CREATE TEXT SEARCH DICTIONARY aida_english_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = english);
CREATE TEXT SEARCH CONFIGURATION aida_words (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION aida_words
    ALTER MAPPING FOR asciiword, asciihword, hword_asciipart WITH aida_english_stem;

-- A video: what was asked for, what was written, and where the film lies.
CREATE TABLE projects (
    id               uuid PRIMARY KEY,
    user_id          text NOT NULL,
    brief            text NOT NULL,
    title            text NOT NULL DEFAULT '',
    slug             text NOT NULL,
    script           jsonb,
    script_author    text,
    aspect           text NOT NULL,
    duration_seconds numeric(8, 3) NOT NULL,
    shot_count       integer NOT NULL CHECK (shot_count > 0),
    source_project   uuid REFERENCES projects (id) ON DELETE SET NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
CREATE INDEX projects_by_user ON projects (user_id, created_at DESC);
COMMENT ON COLUMN projects.script_author IS 'The model that wrote the script, or outline for the built-in writer.';

-- One attempt to take a project through its stages.
CREATE TABLE runs (
    id                 uuid PRIMARY KEY,
    project_id         uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id            text NOT NULL,
    kind               text NOT NULL CHECK (kind IN ('film', 'preview')),
    state              text NOT NULL CHECK (state IN ('writing', 'planned', 'shooting', 'cutting', 'done', 'partial', 'failed')),
    options            jsonb NOT NULL,
    quote_low_usd      numeric(20, 12),
    quote_high_usd     numeric(20, 12),
    plan_usd           numeric(20, 12),
    accepted_usd       numeric(20, 12),
    video_path         text,
    video_seconds      numeric(8, 3),
    stopped_by         text,
    stop_message       text,
    owner              text,
    owner_until        timestamptz,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    finished_at        timestamptz
);
CREATE INDEX runs_by_project ON runs (project_id, created_at DESC);
CREATE INDEX runs_open ON runs (user_id, created_at DESC) WHERE state NOT IN ('done', 'failed');
COMMENT ON COLUMN runs.accepted_usd IS 'The price, USD, up to which the user has said yes.';
COMMENT ON COLUMN runs.stopped_by IS 'Why an unfinished run stopped last: interrupted, budget, needs_yes, provider, unknown_money, local, …';
COMMENT ON COLUMN runs.owner IS 'The process that drives the run; owner_until is its lease.';

CREATE TABLE shots (
    id               uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    number           integer NOT NULL CHECK (number > 0),
    image_prompt     text NOT NULL,
    motion_prompt    text NOT NULL,
    duration_seconds numeric(8, 3) NOT NULL CHECK (duration_seconds > 0),
    on_screen_text   text NOT NULL DEFAULT '',
    narration        text NOT NULL DEFAULT '',
    "references"     jsonb NOT NULL DEFAULT '[]',
    UNIQUE (project_id, number)
);

-- One paid call. The row exists before the call is made.
CREATE TABLE operations (
    id               uuid PRIMARY KEY,
    user_id          text NOT NULL,
    project_id       uuid REFERENCES projects (id) ON DELETE RESTRICT,
    run_id           uuid REFERENCES runs (id) ON DELETE RESTRICT,
    shot_id          uuid REFERENCES shots (id) ON DELETE RESTRICT,
    kind             text NOT NULL CHECK (kind IN ('language', 'embedding', 'image', 'clip')),
    component        text NOT NULL,
    provider         text NOT NULL,
    model            text NOT NULL,
    endpoint         text NOT NULL,
    state            text NOT NULL CHECK (state IN ('planned', 'submitting', 'submitted', 'ready', 'kept',
                                                    'failed_not_charged', 'failed_charged', 'unknown')),
    revision         integer NOT NULL DEFAULT 0,
    price_id         text NOT NULL,
    quantity         jsonb NOT NULL,
    estimated_usd    numeric(20, 12) NOT NULL CHECK (estimated_usd >= 0),
    reserved_usd     numeric(20, 12) NOT NULL DEFAULT 0 CHECK (reserved_usd >= 0),
    request          jsonb,
    request_sha256   text,
    balance_before   numeric(20, 6),
    job              jsonb,
    request_id       text,
    result           text,
    failure          jsonb,
    sent_at          timestamptz,
    submitted_at     timestamptz,
    finished_at      timestamptz,
    created_at       timestamptz NOT NULL
);
CREATE INDEX operations_by_run ON operations (run_id, created_at);
CREATE INDEX operations_by_shot ON operations (shot_id, kind, created_at);
CREATE INDEX operations_by_project ON operations (project_id, kind, state);
CREATE INDEX operations_open ON operations (provider, state) WHERE state IN ('submitting', 'submitted', 'ready', 'unknown');
CREATE INDEX operations_recent_sends ON operations (provider, sent_at DESC) WHERE sent_at IS NOT NULL;
COMMENT ON COLUMN operations.revision IS 'Rises by one with every change, so that the operations journal knows which of two versions is the later one.';
COMMENT ON COLUMN operations.result IS 'What came back, as JSON text: jsonb would reorder the keys of a reply that must be replayed byte for byte.';
COMMENT ON COLUMN operations.balance_before IS 'The provider''s credit balance just before the send, in its own unit, where it has one.';

-- The price that a charge was made with, kept for good.
CREATE TABLE prices (
    id             text PRIMARY KEY,
    provider       text NOT NULL,
    model          text NOT NULL,
    effective_from date NOT NULL,
    rates          jsonb NOT NULL,
    source         text NOT NULL,
    created_at     timestamptz NOT NULL
);

-- The books: one row for each call that cost money or may have.
CREATE TABLE charges (
    id                    uuid PRIMARY KEY,
    operation_id          uuid NOT NULL UNIQUE REFERENCES operations (id) ON DELETE RESTRICT,
    user_id               text NOT NULL,
    project_id            uuid REFERENCES projects (id) ON DELETE RESTRICT,
    run_id                uuid REFERENCES runs (id) ON DELETE RESTRICT,
    component             text NOT NULL,
    provider              text NOT NULL,
    model                 text NOT NULL,
    state                 text NOT NULL CHECK (state IN ('settled', 'unknown')),
    price_id              text NOT NULL REFERENCES prices (id),
    uncached_input_tokens bigint NOT NULL DEFAULT 0,
    cache_write_5m_tokens bigint NOT NULL DEFAULT 0,
    cache_write_1h_tokens bigint NOT NULL DEFAULT 0,
    cache_read_tokens     bigint NOT NULL DEFAULT 0,
    output_tokens         bigint NOT NULL DEFAULT 0,
    embedding_tokens      bigint NOT NULL DEFAULT 0,
    images                integer NOT NULL DEFAULT 0,
    video_seconds         integer NOT NULL DEFAULT 0,
    estimated_usd         numeric(20, 12) NOT NULL,
    reserved_usd          numeric(20, 12) NOT NULL,
    settled_usd           numeric(20, 12),
    billed_usd            numeric(20, 12),
    billed_units          numeric(20, 6),
    wasted                boolean NOT NULL DEFAULT false,
    request_id            text,
    latency_ms            bigint,
    created_at            timestamptz NOT NULL,
    CHECK ((state = 'settled') = (settled_usd IS NOT NULL))
);
CREATE INDEX charges_by_time ON charges (created_at DESC);
CREATE INDEX charges_by_project ON charges (project_id, component);
COMMENT ON COLUMN charges.settled_usd IS 'Known cost, USD. Null while the outcome of the call is unknown; then reserved_usd is its ceiling.';
COMMENT ON COLUMN charges.wasted IS 'Paid for and not kept.';

-- Caps. The till checks every budget that a call falls under, and takes the reservation, in one transaction.
CREATE TABLE budgets (
    id         uuid PRIMARY KEY,
    scope      text NOT NULL CHECK (scope IN ('run', 'run_language')),
    subject    text NOT NULL,
    cap_usd    numeric(20, 12) NOT NULL CHECK (cap_usd >= 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (scope, subject)
);
COMMENT ON COLUMN budgets.subject IS 'What the cap is for: for run and run_language, the id of the run.';

-- A kept image or clip of a shot.
CREATE TABLE takes (
    id               uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
    shot_id          uuid NOT NULL REFERENCES shots (id) ON DELETE RESTRICT,
    operation_id     uuid NOT NULL REFERENCES operations (id) ON DELETE RESTRICT,
    kind             text NOT NULL CHECK (kind IN ('image', 'clip')),
    position         integer NOT NULL DEFAULT 1 CHECK (position > 0),
    chosen           boolean NOT NULL,
    path             text NOT NULL,
    sha256           text NOT NULL,
    bytes            bigint NOT NULL CHECK (bytes > 0),
    width            integer,
    height           integer,
    duration_seconds numeric(8, 3),
    created_at       timestamptz NOT NULL,
    UNIQUE (operation_id, position)
);
CREATE INDEX takes_by_shot ON takes (shot_id, kind, created_at DESC);
COMMENT ON COLUMN takes.position IS 'Which of the images that one job yielded, from 1.';

CREATE TABLE campaigns (
    id          uuid PRIMARY KEY,
    user_id     text NOT NULL,
    name        text NOT NULL,
    description text NOT NULL DEFAULT '',
    archived_at timestamptz,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE UNIQUE INDEX campaigns_by_name ON campaigns (user_id, lower(name));

CREATE TABLE project_campaigns (
    project_id  uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    campaign_id uuid NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    added_at    timestamptz NOT NULL,
    PRIMARY KEY (project_id, campaign_id)
);
CREATE INDEX project_campaigns_by_campaign ON project_campaigns (campaign_id, added_at DESC);

-- The user's own documents.
CREATE TABLE user_files (
    id         uuid PRIMARY KEY,
    user_id    text NOT NULL,
    project_id uuid REFERENCES projects (id) ON DELETE SET NULL,
    name       text NOT NULL,
    path       text NOT NULL,
    media_type text NOT NULL,
    bytes      bigint NOT NULL,
    sha256     text NOT NULL,
    content    text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    UNIQUE (user_id, sha256)
);

CREATE TABLE user_preferences (
    id          uuid PRIMARY KEY,
    user_id     text NOT NULL,
    campaign_id uuid REFERENCES campaigns (id) ON DELETE CASCADE,
    statement   text NOT NULL,
    support     integer NOT NULL DEFAULT 1,
    pinned      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX user_preferences_by_user ON user_preferences (user_id, support DESC);

CREATE TABLE project_feedback (
    id         uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    shot_id    uuid REFERENCES shots (id) ON DELETE CASCADE,
    user_id    text NOT NULL,
    rating     smallint CHECK (rating BETWEEN 1 AND 5),
    note       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL
);
CREATE INDEX project_feedback_by_project ON project_feedback (project_id, created_at DESC);

-- What can be found again: projects, scripts, shots and files, by meaning and by words.
CREATE TABLE project_embeddings (
    id          uuid PRIMARY KEY,
    user_id     text NOT NULL,
    project_id  uuid REFERENCES projects (id) ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('project', 'script', 'shot', 'file')),
    subject_id  uuid NOT NULL,
    part        integer NOT NULL DEFAULT 0,
    content     text NOT NULL,
    model       text,
    embedding   vector(1536),
    words       tsvector GENERATED ALWAYS AS (to_tsvector('aida_words'::regconfig, content)) STORED,
    created_at  timestamptz NOT NULL,
    UNIQUE (kind, subject_id, part),
    CHECK ((model IS NULL) = (embedding IS NULL))
);
CREATE INDEX project_embeddings_by_words ON project_embeddings USING gin (words);
CREATE INDEX project_embeddings_by_user ON project_embeddings (user_id, kind);
CREATE INDEX project_embeddings_openai_small ON project_embeddings
    USING hnsw (embedding vector_cosine_ops) WHERE model = 'text-embedding-3-small';
CREATE INDEX project_embeddings_openai_large ON project_embeddings
    USING hnsw (embedding vector_cosine_ops) WHERE model = 'text-embedding-3-large';
CREATE INDEX project_embeddings_builtin ON project_embeddings
    USING hnsw (embedding vector_cosine_ops) WHERE model = 'builtin-lexical-1';
COMMENT ON COLUMN project_embeddings.embedding IS '1536 wide; narrower vectors are padded with zeros, which leaves the cosine unchanged. Only vectors of one model are compared.';

-- What the seed service called cost_tracking: one row for each video and component.
CREATE VIEW cost_tracking AS
WITH video AS (
    SELECT charges.project_id,
           min(charges.user_id) AS user_id,
           CASE WHEN EXISTS (SELECT 1 FROM operations
                             WHERE operations.project_id = charges.project_id
                               AND operations.kind = 'clip' AND operations.state = 'kept')
                THEN 'orchestrator' ELSE 'draft' END AS component,
           sum(coalesce(charges.settled_usd, charges.reserved_usd)) AS cost,
           sum(charges.uncached_input_tokens) AS uncached_input_tokens,
           sum(charges.cache_write_5m_tokens + charges.cache_write_1h_tokens) AS cache_write_tokens,
           sum(charges.cache_read_tokens) AS cache_read_tokens,
           sum(charges.output_tokens) AS output_tokens,
           count(*) AS calls,
           min(charges.created_at) AS created_at
    FROM charges
    WHERE charges.project_id IS NOT NULL
    GROUP BY charges.project_id
), part AS (
    SELECT charges.project_id,
           min(charges.user_id) AS user_id,
           charges.component,
           sum(coalesce(charges.settled_usd, charges.reserved_usd)) AS cost,
           sum(charges.uncached_input_tokens) AS uncached_input_tokens,
           sum(charges.cache_write_5m_tokens + charges.cache_write_1h_tokens) AS cache_write_tokens,
           sum(charges.cache_read_tokens) AS cache_read_tokens,
           sum(charges.output_tokens) AS output_tokens,
           count(*) AS calls,
           min(charges.created_at) AS created_at
    FROM charges
    GROUP BY charges.project_id, charges.component
)
SELECT project_id AS "projectId", user_id AS "userId", component, cost AS "costDollars",
       cache_read_tokens / nullif(uncached_input_tokens + cache_write_tokens + cache_read_tokens, 0) AS "cacheHitRate",
       uncached_input_tokens AS "inputTokens", cache_write_tokens AS "cacheWriteTokens",
       cache_read_tokens AS "cacheReadTokens", output_tokens AS "outputTokens",
       calls AS "calls", created_at AS "createdAt"
FROM video
UNION ALL
SELECT project_id, user_id, component, cost, NULL::numeric, uncached_input_tokens, cache_write_tokens,
       cache_read_tokens, output_tokens, calls, created_at
FROM part;
COMMENT ON VIEW cost_tracking IS
    'One row for each video and component. component = orchestrator is the roll-up of a whole video that has a kept clip, draft the roll-up of one that has none; the other rows are the parts of the same money. To sum without counting twice, either take only the roll-ups (component IN (''orchestrator'', ''draft'')) plus the rows without a project, or only the parts (component NOT IN (''orchestrator'', ''draft'')). costDollars is settled plus the ceilings of the unknown. cacheHitRate stands on roll-ups only: cache reads over all input tokens, null where there were none.';
