-- Campaigns carry a style, feedback keeps its history, and what aida believes of the user's taste
-- says what it rests on, fades, and can be forgotten for good.

ALTER TABLE campaigns ADD COLUMN palette text[] NOT NULL DEFAULT '{}';
ALTER TABLE campaigns ADD COLUMN words_to_use text[] NOT NULL DEFAULT '{}';
ALTER TABLE campaigns ADD COLUMN words_to_avoid text[] NOT NULL DEFAULT '{}';
ALTER TABLE campaigns ADD COLUMN look text NOT NULL DEFAULT '';
ALTER TABLE campaigns ADD COLUMN logo uuid REFERENCES user_files (id) ON DELETE SET NULL;
ALTER TABLE campaigns ADD COLUMN aspect text;
ALTER TABLE campaigns ADD COLUMN default_budget_usd numeric(20, 12) CHECK (default_budget_usd >= 0);
COMMENT ON COLUMN campaigns.palette IS 'Colours, as names or as #RRGGBB, in the order of their weight.';
COMMENT ON COLUMN campaigns.default_budget_usd IS 'What one video of the campaign may cost where nothing else is said, USD. The cap of the whole campaign stands in budgets.';

-- A later rating of the same thing takes the place of an earlier one, which is kept.
ALTER TABLE project_feedback ADD COLUMN superseded_at timestamptz;
COMMENT ON COLUMN project_feedback.superseded_at IS 'Since when a later rating of the same film or shot counts instead. Null while this one counts.';
UPDATE project_feedback SET superseded_at = later.created_at
FROM (SELECT id, lead(created_at) OVER (PARTITION BY project_id, shot_id, user_id ORDER BY created_at, id) AS created_at
      FROM project_feedback WHERE rating IS NOT NULL) AS later
WHERE later.id = project_feedback.id AND later.created_at IS NOT NULL;

-- What a belief is about, apart from its words: a trait of the lexicon, or the words of a note.
ALTER TABLE user_preferences ADD COLUMN topic text NOT NULL DEFAULT 'told:' || gen_random_uuid();
ALTER TABLE user_preferences ADD COLUMN contradictions integer NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX user_preferences_by_topic
    ON user_preferences (user_id, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), topic);
COMMENT ON COLUMN user_preferences.support IS 'How many pieces of evidence speak for it; 1 for what the user set.';

CREATE TABLE preference_evidence (
    id            uuid PRIMARY KEY,
    preference_id uuid NOT NULL REFERENCES user_preferences (id) ON DELETE CASCADE,
    kind          text NOT NULL CHECK (kind IN ('note', 'rating', 'retake', 'kept', 'brief')),
    supports      boolean NOT NULL,
    weight        integer NOT NULL CHECK (weight > 0),
    project_id    uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    shot_id       uuid REFERENCES shots (id) ON DELETE CASCADE,
    feedback_id   uuid REFERENCES project_feedback (id) ON DELETE CASCADE,
    words         text NOT NULL DEFAULT '',
    observed_at   timestamptz NOT NULL
);
CREATE INDEX preference_evidence_by_preference ON preference_evidence (preference_id, observed_at);
COMMENT ON COLUMN preference_evidence.weight IS 'What it weighs fresh, in thousandths of a plain rating; it halves with its age.';
COMMENT ON COLUMN preference_evidence.words IS 'What the user wrote, or what was seen in the shot.';

-- What must never be believed again, without saying what it was.
CREATE TABLE forgotten_preferences (
    id           uuid PRIMARY KEY,
    user_id      text NOT NULL,
    salt         text NOT NULL,
    digest       text NOT NULL,
    forgotten_at timestamptz NOT NULL
);
CREATE INDEX forgotten_preferences_by_user ON forgotten_preferences (user_id);
COMMENT ON COLUMN forgotten_preferences.digest IS 'SHA-256 of the salt, the user and the topic; of the salt, the user and * where everything before forgotten_at was forgotten.';
