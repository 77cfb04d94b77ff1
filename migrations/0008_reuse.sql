-- Kept takes are offered again before new ones are bought: what tells that two takes are of the same
-- picture, and where a take that was used again comes from.

ALTER TABLE takes ADD COLUMN model text;
ALTER TABLE takes ADD COLUMN keyframe_sha256 text;
ALTER TABLE takes ADD COLUMN reused_from uuid;
ALTER TABLE takes ADD COLUMN fingerprint text;
ALTER TABLE takes ADD COLUMN frame text;
ALTER TABLE takes ADD COLUMN sketch bigint[];
COMMENT ON COLUMN takes.model IS 'The model that made it, where that is another one than its operation''s: of a take that was used again, the operation names the model that would have been bought.';
COMMENT ON COLUMN takes.keyframe_sha256 IS 'Of a clip: the SHA-256 of the picture that it was made from. Null where that is not known.';
COMMENT ON COLUMN takes.reused_from IS 'The take of another project that this one is the same file as. No foreign key: that project may be deleted.';
COMMENT ON COLUMN takes.fingerprint IS 'Of everything that determines the result: model, prompt, shape, references; of a clip its keyframe, motion, seconds and sound. Null until the take is first looked at for reuse.';
COMMENT ON COLUMN takes.frame IS 'What must be equal before prompts are compared at all: a digest of the shape of the picture and the files that it was to look like.';
COMMENT ON COLUMN takes.sketch IS 'MinHash of the words of an image''s prompt, in bands: two images whose prompts share most words share a band. Holds the owner and the frame too.';

-- Which picture a clip was made from was not kept before. It is certain where the shot has one image
-- job, was never given another of its pictures, and that picture is older than the clip's job.
UPDATE takes SET keyframe_sha256 = picture.sha256
FROM operations, takes AS picture
WHERE takes.kind = 'clip' AND operations.id = takes.operation_id
  AND picture.shot_id = takes.shot_id AND picture.kind = 'image' AND picture.chosen AND picture.position = 1
  AND picture.created_at <= operations.created_at
  AND NOT EXISTS (SELECT 1 FROM takes AS other
                  WHERE other.shot_id = takes.shot_id AND other.kind = 'image'
                    AND other.operation_id <> picture.operation_id);

CREATE INDEX takes_unmarked ON takes (project_id) WHERE fingerprint IS NULL;
CREATE INDEX takes_by_sketch ON takes USING gin (sketch) WHERE sketch IS NOT NULL;
CREATE INDEX takes_by_keyframe ON takes (keyframe_sha256) WHERE keyframe_sha256 IS NOT NULL;
CREATE INDEX takes_by_sha256 ON takes (sha256);
CREATE INDEX project_feedback_by_shot ON project_feedback (shot_id) WHERE shot_id IS NOT NULL;
