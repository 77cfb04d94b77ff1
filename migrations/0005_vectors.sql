-- Any model of vectors gets an index of its own when it is first used (`store/embeddings/index.rs`), on a
-- server over the numbers in half their width: half the size, as well found, and the found rows are
-- compared once more in full width. None is built here: over many rows it takes a while, on the embedded
-- server a long one, and the migration holds the table. `aida memory reindex` builds a large one.

DROP INDEX project_embeddings_openai_small;
DROP INDEX project_embeddings_openai_large;
DROP INDEX project_embeddings_builtin;

-- What a model's vectors are wide before they are padded: another width under the same name is
-- another model.
CREATE TABLE embedding_models (
    model      text PRIMARY KEY,
    width      integer NOT NULL CHECK (width BETWEEN 1 AND 1536),
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN embedding_models.width IS 'Numbers in a vector as the model answers it; the rest up to 1536 is zeros.';

-- Whose passages, of which model: answers how many rows a filter leaves, and how many wait for
-- another model, without touching the table.
DROP INDEX project_embeddings_by_user;
CREATE INDEX project_embeddings_by_owner ON project_embeddings (user_id, model) INCLUDE (kind, project_id, id);
-- What belongs to a project, for its changes and its end.
CREATE INDEX project_embeddings_by_project ON project_embeddings (project_id);
