-- The search by words understands languages, accents, scripts without spaces, and misspellings.
-- Everything here works on a server in the C locale without stop-word files and contrib modules.

-- One dictionary a language, without the stop-word files that the embedded server lacks.
CREATE TEXT SEARCH DICTIONARY aida_german_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = german);
CREATE TEXT SEARCH DICTIONARY aida_french_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = french);
CREATE TEXT SEARCH DICTIONARY aida_spanish_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = spanish);
CREATE TEXT SEARCH DICTIONARY aida_italian_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = italian);
CREATE TEXT SEARCH DICTIONARY aida_portuguese_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = portuguese);
CREATE TEXT SEARCH DICTIONARY aida_dutch_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = dutch);
CREATE TEXT SEARCH DICTIONARY aida_russian_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = russian);

CREATE TEXT SEARCH CONFIGURATION aida_plain (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_english (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_german (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_french (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_spanish (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_italian (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_portuguese (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_dutch (COPY = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION aida_russian (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION aida_english ALTER MAPPING FOR asciiword, word WITH aida_english_stem;
ALTER TEXT SEARCH CONFIGURATION aida_german ALTER MAPPING FOR asciiword, word WITH aida_german_stem;
ALTER TEXT SEARCH CONFIGURATION aida_french ALTER MAPPING FOR asciiword, word WITH aida_french_stem;
ALTER TEXT SEARCH CONFIGURATION aida_spanish ALTER MAPPING FOR asciiword, word WITH aida_spanish_stem;
ALTER TEXT SEARCH CONFIGURATION aida_italian ALTER MAPPING FOR asciiword, word WITH aida_italian_stem;
ALTER TEXT SEARCH CONFIGURATION aida_portuguese ALTER MAPPING FOR asciiword, word WITH aida_portuguese_stem;
ALTER TEXT SEARCH CONFIGURATION aida_dutch ALTER MAPPING FOR asciiword, word WITH aida_dutch_stem;
ALTER TEXT SEARCH CONFIGURATION aida_russian ALTER MAPPING FOR asciiword, word WITH aida_russian_stem;

-- Lower case, accents kept. The C locale folds ASCII alone; taken apart from their accents, few
-- other letters have two cases.
CREATE FUNCTION aida_lower(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(content) = char_length(content) THEN lower(content COLLATE "C")
    ELSE normalize(
        translate(
            lower(normalize(content, NFKD) COLLATE "C"),
            'ÆŒØŁĐÞÐĦŦΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩςАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЂЄЅІЈЉЊЋЏҐ',
            'æœøłđþðħŧαβγδεζηθικλμνξοπρστυφχψωσабвгдежзийклмнопрстуфхцчшщъыьэюяђєѕіјљњћџґ'),
        NFC)
END;

-- The words of a lower-case text with single spaces between them. What is no letter and no digit parts
-- words, so that Postgres' parser finds no paths, hosts and signs in a brief; scripts without spaces
-- are parted at every character, so that two characters in a row are a phrase of two.
CREATE FUNCTION aida_parted(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(content) = char_length(content) THEN regexp_replace(content, '[^0-9a-z]+', ' ', 'g')
    ELSE regexp_replace(
        regexp_replace(
            content,
            '[^0-9a-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02c1\u0300-\u1fff\u2c00-\u2dff\u3005\u3041-\u3096\u3099\u309a\u30a1-\u30fa\u30fc\u3400-\u9fff\ua000-\ud7ff\uf900-\ufdff\ufe70-\ufefc\U00020000-\U0003ffff]+',
            ' ', 'g'),
        '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])',
        ' \1 ', 'g')
END;

-- Without the accents of Latin letters. Others keep theirs: й and が are letters of their own.
CREATE FUNCTION aida_folded(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(content) = char_length(content) THEN content
    ELSE replace(replace(replace(replace(
        translate(
            normalize(
                regexp_replace(normalize(content, NFD), '([a-z])[\u0300-\u036f]+', '\1', 'g'),
                NFC),
            'øłđðħŧıё', 'olddhtiе'),
        'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th')
END;

-- The language of a text, for its stems alone: by the script, else by its small words and, where these
-- are shared, its endings, else by letters that few languages have. What tells nothing is English.
CREATE FUNCTION aida_language(lower_text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN lower_text ~ '[\u0400-\u04ff]{3}' AND lower_text !~ '[a-z]{3}.*[a-z]{3}.*[a-z]{3}.*[a-z]{3}.*[a-z]{3}.*[a-z]{3}'
        THEN 'russian'
    ELSE coalesce(
        (SELECT language
         FROM (VALUES
             (1, 'english', '(ing|ed|ly|tion|ness|ght|th)$', ARRAY['the', 'a', 'an', 'and', 'of', 'in', 'on', 'with', 'for', 'from', 'is', 'are', 'to', 'at', 'by', 'its', 'it', 'that', 'who', 'this', 'over', 'under', 'into', 'her', 'his', 'not', 'must', 'no', 'as', 'be', 'up', 'we']),
             (2, 'german', '(en|ung|lich|isch|keit|heit|chen|er)$', ARRAY['der', 'die', 'das', 'und', 'ein', 'eine', 'einer', 'einem', 'einen', 'im', 'am', 'mit', 'für', 'auf', 'ist', 'von', 'zu', 'zum', 'zur', 'den', 'dem', 'des', 'nicht', 'sich', 'aus', 'bei', 'über', 'unter', 'wird', 'hat', 'sie', 'er', 'es', 'wie', 'nach', 'durch', 'vor', 'ohne', 'in', 'an', 'als', 'auch', 'noch', 'oder']),
             (3, 'french', '(aux|eux|eur|ette|elle|tion|ée|ées|ent|es)$', ARRAY['le', 'la', 'les', 'des', 'du', 'un', 'une', 'et', 'est', 'dans', 'sur', 'avec', 'pour', 'qui', 'que', 'au', 'aux', 'ce', 'cette', 'sous', 'par', 'son', 'sa', 'ses', 'l', 'd', 'de', 'en', 'ne', 'pas', 'elle', 'il', 'à']),
             (4, 'spanish', '(os|as|ción|dad|ando|aba|ado|ero|era|an)$', ARRAY['el', 'la', 'los', 'las', 'un', 'una', 'y', 'de', 'del', 'en', 'con', 'para', 'por', 'que', 'es', 'se', 'su', 'sus', 'al', 'lo', 'como', 'no', 'más', 'este', 'esta', 'entre', 'sobre', 'cuando', 'e']),
             (5, 'italian', '(zione|etto|ella|ato|are|hio|chi|ghi|tti|i)$', ARRAY['il', 'lo', 'la', 'gli', 'le', 'i', 'un', 'una', 'e', 'di', 'del', 'della', 'nel', 'nella', 'con', 'per', 'che', 'si', 'da', 'sono', 'alla', 'al', 'non', 'è', 'dal', 'sul', 'sulla', 'l', 'in', 'come', 'ogni']),
             (6, 'portuguese', '(ão|ões|inho|ado|eira|agem|am)$', ARRAY['o', 'a', 'os', 'as', 'um', 'uma', 'e', 'de', 'do', 'da', 'dos', 'das', 'em', 'no', 'na', 'nos', 'nas', 'com', 'para', 'por', 'que', 'se', 'ao', 'não', 'é', 'seu', 'sua', 'pela', 'pelo', 'à', 'mais']),
             (7, 'dutch', '(ij|en|heid|lijk|tje|aar|oor)$', ARRAY['de', 'het', 'een', 'van', 'in', 'en', 'op', 'met', 'voor', 'is', 'te', 'aan', 'dat', 'die', 'niet', 'zijn', 'naar', 'uit', 'bij', 'om', 'door', 'over', 'wordt', 'er', 'zij', 'hij'])
         ) AS known (place, language, endings, small_words),
         LATERAL (SELECT count(*) FILTER (WHERE word = ANY (small_words)) AS small,
                         count(*) FILTER (WHERE word ~ endings) AS ended
                  FROM unnest((string_to_array(lower_text, ' '))[1:60]) AS word) AS counted
         WHERE small > 0
         ORDER BY small DESC, ended DESC, place
         LIMIT 1),
        CASE WHEN lower_text ~ '[äöüß]' THEN 'german'
             WHEN lower_text ~ '[ñ¿¡]' THEN 'spanish'
             WHEN lower_text ~ '[ãõ]' THEN 'portuguese'
             WHEN lower_text ~ '[àâçèêëîïôûùœé]' THEN 'french'
             ELSE 'english' END)
END;

-- The stems of a text in one language.
CREATE FUNCTION aida_stems(language text, parted text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE language
    WHEN 'english' THEN to_tsvector('aida_english'::regconfig, parted)
    WHEN 'german' THEN to_tsvector('aida_german'::regconfig, parted)
    WHEN 'french' THEN to_tsvector('aida_french'::regconfig, parted)
    WHEN 'spanish' THEN to_tsvector('aida_spanish'::regconfig, parted)
    WHEN 'italian' THEN to_tsvector('aida_italian'::regconfig, parted)
    WHEN 'portuguese' THEN to_tsvector('aida_portuguese'::regconfig, parted)
    WHEN 'dutch' THEN to_tsvector('aida_dutch'::regconfig, parted)
    WHEN 'russian' THEN to_tsvector('aida_russian'::regconfig, parted)
END;

-- Every language that a passage can be in.
CREATE FUNCTION aida_languages() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['english', 'german', 'french', 'spanish', 'italian', 'portuguese', 'dutch', 'russian'];

-- The words of a passage: as they stand (A), and stemmed in the passage's language (B), with accents
-- and without, because people search without.
CREATE FUNCTION aida_words_of(language text, parted text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN setweight(to_tsvector('aida_plain'::regconfig, aida_folded(parted)), 'A')
    || setweight(aida_stems(language, aida_folded(parted)), 'B')
    || CASE WHEN aida_folded(parted) = parted THEN ''::tsvector
            ELSE setweight(aida_stems(language, parted), 'B') END;

-- What a word of a query looks for: the word as it stands, and its stems in one language. It may fall
-- apart into several words, which then stand in a row.
CREATE FUNCTION aida_asked(parted text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN phraseto_tsquery('aida_plain'::regconfig, aida_folded(parted));

CREATE FUNCTION aida_asked_stems(language text, parted text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE language
    WHEN 'english' THEN phraseto_tsquery('aida_english'::regconfig, aida_folded(parted))
    WHEN 'german' THEN phraseto_tsquery('aida_german'::regconfig, aida_folded(parted)) || phraseto_tsquery('aida_german'::regconfig, parted)
    WHEN 'french' THEN phraseto_tsquery('aida_french'::regconfig, aida_folded(parted)) || phraseto_tsquery('aida_french'::regconfig, parted)
    WHEN 'spanish' THEN phraseto_tsquery('aida_spanish'::regconfig, aida_folded(parted)) || phraseto_tsquery('aida_spanish'::regconfig, parted)
    WHEN 'italian' THEN phraseto_tsquery('aida_italian'::regconfig, aida_folded(parted)) || phraseto_tsquery('aida_italian'::regconfig, parted)
    WHEN 'portuguese' THEN phraseto_tsquery('aida_portuguese'::regconfig, aida_folded(parted)) || phraseto_tsquery('aida_portuguese'::regconfig, parted)
    WHEN 'dutch' THEN phraseto_tsquery('aida_dutch'::regconfig, aida_folded(parted)) || phraseto_tsquery('aida_dutch'::regconfig, parted)
    WHEN 'russian' THEN phraseto_tsquery('aida_russian'::regconfig, parted)
END;

-- A generated column cannot use another one, so both begin with the same steps.
ALTER TABLE project_embeddings
    DROP COLUMN words,
    ADD COLUMN language text NOT NULL GENERATED ALWAYS AS (aida_language(aida_parted(aida_lower(content)))) STORED,
    ADD COLUMN words tsvector NOT NULL GENERATED ALWAYS AS
        (aida_words_of(aida_language(aida_parted(aida_lower(content))), aida_parted(aida_lower(content)))) STORED;
CREATE INDEX project_embeddings_by_words ON project_embeddings USING gin (words);
DROP TEXT SEARCH CONFIGURATION aida_words;
COMMENT ON COLUMN project_embeddings.words IS 'Each word as it stands, without accents (A), and its stem in the language of the passage (B).';

-- The words that a user has, so that a misspelt one finds its neighbours without reading passages.
CREATE TABLE passage_words (
    user_id text NOT NULL,
    word    text NOT NULL COLLATE "C",
    pieces  text[] NOT NULL,
    PRIMARY KEY (user_id, word)
);
CREATE INDEX passage_words_by_pieces ON passage_words USING gin (pieces);
COMMENT ON TABLE passage_words IS 'Written by the triggers on project_embeddings alone.';

-- The runs of three letters in a word between its borders.
CREATE FUNCTION aida_pieces(word text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT DISTINCT substr(' ' || word || ' ', place, 3)
             FROM generate_series(1, char_length(word)) AS place);

-- The words of a passage that can be misspelt: of four letters and more, and without digits.
CREATE FUNCTION aida_vocabulary(content text) RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT DISTINCT word
    FROM unnest(string_to_array(aida_folded(aida_parted(aida_lower(content))), ' ')) AS word
    WHERE char_length(word) BETWEEN 4 AND 40 AND word !~ '[0-9]';
END;

-- Words are written in their order, so that two writers wait for each other and never both. A change
-- of the vectors alone, which has no other texts than before, has no words to learn and none to forget.
CREATE FUNCTION aida_learn_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NOT EXISTS (SELECT user_id, content FROM changed EXCEPT SELECT user_id, content FROM gone) THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO passage_words (user_id, word, pieces)
    SELECT fresh.user_id, fresh.word, aida_pieces(fresh.word)
    FROM (SELECT DISTINCT changed.user_id, word
          FROM changed, aida_vocabulary(changed.content) AS word) AS fresh
    WHERE NOT EXISTS (SELECT FROM passage_words AS known
                      WHERE known.user_id = fresh.user_id AND known.word = fresh.word)
    ORDER BY fresh.user_id COLLATE "C", fresh.word COLLATE "C"
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

-- What is removed must not be kept in pieces: a word that no passage has any more is forgotten.
CREATE FUNCTION aida_forget_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NOT EXISTS (SELECT user_id, content FROM gone EXCEPT SELECT user_id, content FROM changed) THEN
            RETURN NULL;
        END IF;
    END IF;
    DELETE FROM passage_words AS known
    USING (SELECT DISTINCT gone.user_id, word
           FROM gone, aida_vocabulary(gone.content) AS word) AS lost
    WHERE known.user_id = lost.user_id AND known.word = lost.word
      AND NOT EXISTS (SELECT FROM project_embeddings AS passage
                      WHERE passage.user_id = lost.user_id
                        AND passage.words @@ (quote_literal(lost.word) || ':A')::tsquery);
    RETURN NULL;
END $$;

CREATE TRIGGER words_of_new_passages AFTER INSERT ON project_embeddings
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION aida_learn_words();
CREATE TRIGGER words_of_changed_passages AFTER UPDATE ON project_embeddings
    REFERENCING OLD TABLE AS gone NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION aida_learn_words();
CREATE TRIGGER words_of_former_passages AFTER UPDATE ON project_embeddings
    REFERENCING OLD TABLE AS gone NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION aida_forget_words();
CREATE TRIGGER words_of_gone_passages AFTER DELETE ON project_embeddings
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION aida_forget_words();

INSERT INTO passage_words (user_id, word, pieces)
SELECT known.user_id, known.word, aida_pieces(known.word)
FROM (SELECT DISTINCT passage.user_id, word
      FROM project_embeddings AS passage, aida_vocabulary(passage.content) AS word) AS known;
