-- The user's own files: what is known of them beside their words, what Claude said of a picture,
-- which file took the place of which, and where in a file a passage stands.

ALTER TABLE user_files
    ADD COLUMN facts        jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN description  text NOT NULL DEFAULT '',
    ADD COLUMN described_by text,
    ADD COLUMN replaced_by  uuid REFERENCES user_files (id) ON DELETE CASCADE;

COMMENT ON COLUMN user_files.facts IS
    'What else is known: pages, rows, width, height, colours, encoding.';
COMMENT ON COLUMN user_files.description IS
    'What a model saw in a picture; bought once and kept.';
COMMENT ON COLUMN user_files.described_by IS
    'The model that described the picture; null where none has.';
COMMENT ON COLUMN user_files.replaced_by IS
    'The file that was later found under the same path with other bytes. What is replaced is kept for the runs that use it, and no search finds it.';

CREATE INDEX user_files_by_path ON user_files (user_id, path);
CREATE INDEX user_files_by_successor ON user_files (replaced_by) WHERE replaced_by IS NOT NULL;

ALTER TABLE project_embeddings ADD COLUMN place text NOT NULL DEFAULT '';

COMMENT ON COLUMN project_embeddings.place IS
    'Where in a file the passage stands, such as "page 12" or "rows 40-52"; empty where it has no such place.';

-- An upload of the same bytes, and the description of the same picture, are looked for before they are made.
CREATE INDEX operations_by_content ON operations (user_id, request_sha256, created_at DESC)
    WHERE kind = 'upload' OR (kind = 'language' AND run_id IS NULL);
