-- Kept images and clips can be found again, like the shots that they are of.

ALTER TABLE project_embeddings DROP CONSTRAINT project_embeddings_kind_check;
ALTER TABLE project_embeddings ADD CONSTRAINT project_embeddings_kind_check
    CHECK (kind IN ('project', 'script', 'shot', 'take', 'file'));
