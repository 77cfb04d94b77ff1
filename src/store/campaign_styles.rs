//! The style of a campaign: what every video of it follows.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::error::Error;
use crate::ids::{CampaignId, FileId};
use crate::ledger::money::Usd;
use crate::store::StoreError;
use crate::store::files::{self, UserFile};
use crate::studio::brief::Aspect;

/// The most colours of a palette.
pub const MOST_COLOURS: usize = 12;
/// The most words to use, and to avoid.
pub const MOST_WORDS: usize = 60;
/// The longest colour or word, in characters.
pub const LONGEST_ENTRY: usize = 60;
/// The longest look, in characters.
pub const LONGEST_LOOK: usize = 1_000;

/// What every video of a campaign follows. Everything may be left open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignStyle {
    /// Colours, by name or as `#RRGGBB`, the most important first.
    pub palette: Vec<String>,
    /// Words that each film says.
    pub words_to_use: Vec<String>,
    /// Words that no film says.
    pub words_to_avoid: Vec<String>,
    /// Tone and look, in words.
    pub look: String,
    /// The logo, one of the user's files.
    pub logo: Option<Logo>,
    /// The shape of the picture.
    pub aspect: Option<Aspect>,
    /// What one video may cost where nothing else is said, USD.
    pub default_budget_usd: Option<Usd>,
}

/// A logo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logo {
    /// The file.
    pub file_id: FileId,
    /// Its name.
    pub name: String,
}

/// Why something cannot be a part of a style.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StyleError {
    /// More entries than are taken.
    #[error("{what} has {count} entries; at most {most} are taken")]
    TooMany {
        /// What of the style.
        what: &'static str,
        /// How many were given.
        count: usize,
        /// The most that are taken.
        most: usize,
    },
    /// An entry that is too long, or holds what no line holds.
    #[error("'{entry}' cannot stand in {what}: it needs 1 to {LONGEST_ENTRY} plain characters")]
    Entry {
        /// What of the style.
        what: &'static str,
        /// The entry.
        entry: String,
    },
    /// It begins like a colour in hexadecimal digits and is none.
    #[error("'{0}' is no colour; write #RRGGBB or a name")]
    Colour(String),
    /// Longer than is taken.
    #[error("the look has {0} characters; at most {LONGEST_LOOK} are taken")]
    LongLook(usize),
}

impl From<StyleError> for Error {
    fn from(error: StyleError) -> Self {
        Self::usage(error.to_string()).hint(
            "as in: aida campaigns style Spring --palette \"terracotta, #F5E9DC\" --avoid cheap",
        )
    }
}

/// Reads colours, separated by commas. Hexadecimal ones are written `#RRGGBB` in capitals.
pub fn colours(texts: &[String]) -> Result<Vec<String>, StyleError> {
    let entries = entries("the palette", texts, MOST_COLOURS)?;
    entries
        .into_iter()
        .map(|entry| {
            let Some(digits) = entry.strip_prefix('#') else { return Ok(entry) };
            let is_hexadecimal = digits.chars().all(|digit| digit.is_ascii_hexdigit());
            match digits.len() {
                6 if is_hexadecimal => Ok(format!("#{}", digits.to_ascii_uppercase())),
                3 if is_hexadecimal => {
                    let doubled =
                        digits.chars().flat_map(|digit| [digit, digit]).collect::<String>();
                    Ok(format!("#{}", doubled.to_ascii_uppercase()))
                }
                _ => Err(StyleError::Colour(entry.clone())),
            }
        })
        .collect()
}

/// Reads words, separated by commas; an entry may be several words.
pub fn words(what: &'static str, texts: &[String]) -> Result<Vec<String>, StyleError> {
    entries(what, texts, MOST_WORDS)
}

/// Checks tone and look.
pub fn checked_look(text: &str) -> Result<String, StyleError> {
    let look = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = look.chars().count();
    if length > LONGEST_LOOK {
        return Err(StyleError::LongLook(length));
    }
    Ok(look.chars().filter(|character| !character.is_control()).collect())
}

fn entries(what: &'static str, texts: &[String], most: usize) -> Result<Vec<String>, StyleError> {
    let mut found: Vec<String> = Vec::new();
    for entry in texts.iter().flat_map(|text| text.split(',')) {
        let entry = entry.split_whitespace().collect::<Vec<_>>().join(" ");
        if entry.is_empty() {
            continue;
        }
        let is_wrong = entry.chars().count() > LONGEST_ENTRY
            || entry.chars().any(|character| character.is_control() || "\"<>".contains(character))
            || !entry.chars().any(char::is_alphanumeric);
        if is_wrong {
            return Err(StyleError::Entry { what, entry });
        }
        if found.iter().all(|known| known.to_lowercase() != entry.to_lowercase()) {
            found.push(entry);
        }
    }
    if found.len() > most {
        return Err(StyleError::TooMany { what, count: found.len(), most });
    }
    Ok(found)
}

/// The style of a campaign.
pub async fn of(
    connection: &mut PgConnection,
    campaign: CampaignId,
) -> Result<CampaignStyle, StoreError> {
    type Row = (
        Vec<String>,
        Vec<String>,
        Vec<String>,
        String,
        Option<FileId>,
        Option<String>,
        Option<String>,
        Option<Usd>,
    );
    let row: Option<Row> = sqlx::query_as(
        "SELECT palette, words_to_use, words_to_avoid, look, user_files.id, user_files.name, aspect, default_budget_usd
         FROM campaigns LEFT JOIN user_files ON user_files.id = logo
         WHERE campaigns.id = $1",
    )
    .bind(campaign)
    .fetch_optional(connection)
    .await?;
    let Some((palette, words_to_use, words_to_avoid, look, file, name, aspect, budget)) = row
    else {
        return Ok(CampaignStyle::default());
    };
    let aspect = aspect
        .map(|aspect| aspect.parse::<Aspect>())
        .transpose()
        .map_err(|message| sqlx::Error::Decode(message.into()))?;
    Ok(CampaignStyle {
        palette,
        words_to_use,
        words_to_avoid,
        look,
        logo: file.zip(name).map(|(file_id, name)| Logo { file_id, name }),
        aspect,
        default_budget_usd: budget,
    })
}

/// Gives a campaign another style.
pub async fn set(
    connection: &mut PgConnection,
    campaign: CampaignId,
    style: &CampaignStyle,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE campaigns SET palette = $2, words_to_use = $3, words_to_avoid = $4, look = $5, logo = $6,
                              aspect = $7, default_budget_usd = $8, updated_at = $9
         WHERE id = $1",
    )
    .bind(campaign)
    .bind(&style.palette)
    .bind(&style.words_to_use)
    .bind(&style.words_to_avoid)
    .bind(&style.look)
    .bind(style.logo.as_ref().map(|logo| logo.file_id))
    .bind(style.aspect.map(Aspect::as_str))
    .bind(style.default_budget_usd)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// The user's pictures that `reference` may mean: by id, the end of it, or name whatever its case. A name
/// means the picture that bears it now and none that it replaced.
pub async fn pictures(
    connection: &mut PgConnection,
    user_id: &str,
    reference: &str,
) -> Result<Vec<Logo>, StoreError> {
    let found = files::find(connection, user_id, reference.trim()).await?;
    let pictures = found.into_iter().filter(UserFile::is_picture);
    Ok(pictures.map(|picture| Logo { file_id: picture.id, name: picture.name }).collect())
}

/// How a campaign's films and takes came out. None of this is money: that stands in the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, sqlx::FromRow)]
pub struct Yield {
    /// Images and clips that were paid for.
    pub takes_bought: i64,
    /// Of those, what came and was kept.
    pub takes_kept: i64,
    /// Of those, what the films use.
    pub takes_in_films: i64,
    /// Videos of which a film, and no preview, was begun.
    pub films_begun: i64,
    /// Of those, with a finished film, in full or in part.
    pub films_finished: i64,
}

/// How a campaign's films and takes came out.
pub async fn yields(
    connection: &mut PgConnection,
    campaign: CampaignId,
) -> Result<Yield, StoreError> {
    Ok(sqlx::query_as(
        "WITH members AS (SELECT project_id FROM project_campaigns WHERE campaign_id = $1)
         SELECT (SELECT count(*) FROM operations JOIN members USING (project_id)
                 WHERE kind IN ('image', 'clip')
                   AND state IN ('submitted', 'ready', 'kept', 'failed_charged')) AS takes_bought,
                (SELECT count(*) FROM operations JOIN members USING (project_id)
                 WHERE kind IN ('image', 'clip') AND state = 'kept') AS takes_kept,
                (SELECT count(DISTINCT operation_id) FROM takes JOIN members USING (project_id)
                 WHERE chosen) AS takes_in_films,
                (SELECT count(DISTINCT project_id) FROM runs JOIN members USING (project_id)
                 WHERE kind = 'film') AS films_begun,
                (SELECT count(DISTINCT project_id) FROM runs JOIN members USING (project_id)
                 WHERE kind = 'film' AND state IN ('done', 'partial')) AS films_finished",
    )
    .bind(campaign)
    .fetch_one(connection)
    .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn palettes_are_names_and_hexadecimal_digits() {
        let read = |entries: &[&str]| colours(&texts(entries));
        assert_eq!(
            read(&["rust red, #c84", " Cream ,#f5e9dc", "cream"]),
            Ok(texts(&["rust red", "#CC8844", "Cream", "#F5E9DC"]))
        );
        assert_eq!(read(&["", ","]), Ok(Vec::new()));
        assert_eq!(read(&["#12"]), Err(StyleError::Colour("#12".to_owned())));
        assert!(matches!(read(&["a\u{1b}b"]), Err(StyleError::Entry { .. })));
        assert!(matches!(read(&["</campaign>"]), Err(StyleError::Entry { .. })));
        let many = (0..13).map(|number| format!("colour {number}")).collect::<Vec<_>>().join(",");
        assert!(matches!(colours(&[many]), Err(StyleError::TooMany { count: 13, .. })));
    }
}
