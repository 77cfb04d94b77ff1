//! What makes a line a project, and everything that can be wrong with one.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::Value;

use super::line::{Campaigns, FORMAT, ProjectLine, ShotLine, VectorLine, latest_rating};
use crate::ids::ProjectId;
use crate::store::campaigns::CampaignName;
use crate::store::embeddings::{PassageKind, VECTOR_WIDTH, to_unit_length};
use crate::store::past::{PastFeedback, PastProject, made_of};
use crate::studio::brief::{Aspect, BriefText};
use crate::studio::script::{Beat, Script};
use crate::studio::storyboard::Shot;

/// The most shots of a project.
const MOST_SHOTS: usize = 1_000;
/// The longest text of a shot, a note or a title, in characters.
const LONGEST_TEXT: usize = 20_000;
/// The longest script that is not plain text, in bytes of JSON.
const LONGEST_SCRIPT: usize = 1_000_000;
/// The longest name of a user, an author or a model, in characters.
const LONGEST_NAME: usize = 200;
/// The longest film or shot, in seconds: what the database can hold.
const LONGEST_SECONDS: u32 = 86_400;

/// Whose a project becomes, and how a slug is made.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// Whose it is where the line does not say.
    pub user: &'a str,
    /// From whom to whom; `*` stands for everybody else.
    pub user_map: &'a [(String, String)],
    /// A brief as a part of a file name.
    pub slug_of: fn(&str) -> String,
}

impl ProjectLine {
    /// The project of the line, or everything that is wrong with it.
    pub fn into_project(
        mut self,
        defaults: Defaults<'_>,
    ) -> Result<(PastProject, Vec<VectorLine>), Vec<String>> {
        let mut problems = Vec::new();
        let mut wrong = |problem: String| problems.push(problem);
        if self.format != FORMAT {
            wrong(format!("format is {}; this aida reads format {FORMAT}", self.format));
        }
        if let Err(error) = self.brief.parse::<BriefText>() {
            wrong(format!("brief: {error}"));
        }
        let user = defaults.user_of(self.user.as_deref());
        let names = [
            ("user", Some(user.as_str())),
            ("script_author", self.script_author.as_deref()),
            ("slug", self.slug.as_deref()),
        ];
        for (field, name) in names {
            if let Some(name) = name
                && (name.trim().is_empty()
                    || name.chars().count() > LONGEST_NAME
                    || name.chars().any(char::is_control))
            {
                wrong(format!("{field} is not one line of 1 to {LONGEST_NAME} characters"));
            }
        }
        if self
            .slug
            .as_deref()
            .is_some_and(|slug| slug.contains(['/', '\\']) || slug.starts_with('.'))
        {
            wrong("slug cannot be a part of a file's name".to_owned());
        }
        if let Some(problem) = text_problem(&self.title) {
            wrong(format!("title {problem}"));
        }
        if let Some(problem) = year_problem(self.created_at) {
            wrong(format!("created_at: {problem}"));
        }
        let aspect = self.aspect.clone().unwrap_or_else(|| Aspect::default().as_str().to_owned());
        if let Err(problem) = aspect.parse::<Aspect>() {
            wrong(format!("aspect: {problem}"));
        }
        let mut campaigns = match &self.campaign {
            None => Vec::new(),
            Some(Campaigns::One(name)) => vec![name.clone()],
            Some(Campaigns::Many(names)) => names.clone(),
        };
        for name in &mut campaigns {
            match name.parse::<CampaignName>() {
                Ok(checked) => checked.as_str().clone_into(name),
                Err(error) => wrong(format!("campaign: {error}")),
            }
        }
        campaigns.sort();
        campaigns.dedup();
        let shots = checked_shots(&self.shots, &mut wrong);
        let script = match self.script.clone().map(|script| checked_script(script, &self)) {
            None => None,
            Some(Ok(script)) => Some(script),
            Some(Err(problem)) => {
                wrong(format!("script: {problem}"));
                None
            }
        };
        let feedback = checked_feedback(&self, shots.len(), &mut wrong);
        // A sum that no decimal holds is too long, as its largest part is.
        let length = shots
            .iter()
            .try_fold(Decimal::ZERO, |sum, shot| sum.checked_add(shot.duration_seconds))
            .unwrap_or(Decimal::MAX);
        let duration_seconds = self.duration_seconds.unwrap_or(if length.is_zero() {
            Decimal::from(30)
        } else {
            length
        });
        if !is_length(duration_seconds) {
            wrong(format!("duration_seconds is not above 0 and at most {LONGEST_SECONDS}"));
        }
        let asked = self.shot_count.map_or(shots.len().max(1), |count| count as usize);
        let shot_count = i32::try_from(asked).unwrap_or(0);
        if shot_count < 1 {
            wrong("shot_count is not a number from 1 up".to_owned());
        }
        for vector in &mut self.vectors {
            if let Some(problem) = vector_problem(vector, shots.len()) {
                wrong(format!("vectors: {problem}"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let id = match &self.id {
            None => self.made_id(&user),
            Some(id) => id.trim().parse().unwrap_or_else(|_| {
                ProjectId::from_uuid(made_of(&["project", &user, "id", id.trim()]))
            }),
        };
        let slug = self.slug.unwrap_or_else(|| (defaults.slug_of)(&self.brief));
        let project = PastProject {
            id,
            user_id: user,
            brief: self.brief.trim().to_owned(),
            title: self.title,
            slug,
            script,
            script_author: self.script_author,
            aspect,
            duration_seconds: thousandths(duration_seconds),
            shot_count,
            source_project: self.source_project.filter(|source| *source != id),
            created_at: to_microseconds(self.created_at),
            shots,
            feedback,
            campaigns,
        };
        Ok((project, self.vectors))
    }

    /// An id made of the line and its owner, so that a line without one is the same project every time.
    fn made_id(&self, user: &str) -> ProjectId {
        let told = Self {
            id: None,
            user: None,
            campaign: None,
            rating: None,
            feedback: Vec::new(),
            vectors: Vec::new(),
            ..self.clone()
        };
        let text = serde_json::to_string(&told).unwrap_or_default();
        ProjectId::from_uuid(made_of(&["project", user, &text]))
    }
}

impl Defaults<'_> {
    fn user_of(&self, said: Option<&str>) -> String {
        let user = said.unwrap_or(self.user);
        let exact = self.user_map.iter().find(|(from, _)| from == user);
        let any = self.user_map.iter().find(|(from, _)| from == "*");
        exact.or(any).map_or(user, |(_, to)| to).to_owned()
    }
}

fn checked_shots(lines: &[ShotLine], wrong: &mut impl FnMut(String)) -> Vec<Shot> {
    if lines.len() > MOST_SHOTS {
        wrong(format!("{} shots; at most {MOST_SHOTS} are taken", lines.len()));
        return Vec::new();
    }
    let mut shots = Vec::with_capacity(lines.len());
    for (line, place) in lines.iter().zip(1_u32..) {
        let number = line.number.unwrap_or(place);
        if number != place {
            wrong(format!("shot {place} has the number {number}; they are counted from 1"));
        }
        if line.image_prompt.trim().is_empty() {
            wrong(format!("shot {place}: image_prompt is empty"));
        }
        for (field, text) in [
            ("image_prompt", &line.image_prompt),
            ("motion_prompt", &line.motion_prompt),
            ("on_screen_text", &line.on_screen_text),
            ("narration", &line.narration),
        ]
        .into_iter()
        .chain(line.references.iter().map(|text| ("references", text)))
        {
            if let Some(problem) = text_problem(text) {
                wrong(format!("shot {place}: {field} {problem}"));
            }
        }
        let duration_seconds = line.duration_seconds.unwrap_or(Decimal::from(5));
        if !is_length(duration_seconds) {
            wrong(format!(
                "shot {place}: duration_seconds is not above 0 and at most {LONGEST_SECONDS}"
            ));
        }
        shots.push(Shot {
            number: place,
            image_prompt: line.image_prompt.clone(),
            motion_prompt: line.motion_prompt.clone(),
            duration_seconds: thousandths(duration_seconds),
            on_screen_text: line.on_screen_text.clone(),
            narration: line.narration.clone(),
            references: line.references.clone(),
        });
    }
    shots
}

/// A script as aida keeps it. Plain text becomes one: each of its paragraphs is a beat.
fn checked_script(script: Value, line: &ProjectLine) -> Result<Value, String> {
    match script {
        Value::String(text) => {
            if let Some(problem) = text_problem(&text) {
                return Err(format!("it {problem}"));
            }
            let beats: Vec<Beat> = text
                .split("\n\n")
                .map(str::trim)
                .filter(|paragraph| !paragraph.is_empty())
                .map(|paragraph| Beat {
                    action: paragraph.to_owned(),
                    narration: String::new(),
                    on_screen_text: String::new(),
                })
                .collect();
            if beats.is_empty() {
                return Err("it is empty".to_owned());
            }
            let title = if line.title.trim().is_empty() { &line.brief } else { &line.title };
            let title: String = title.trim().chars().take(80).collect();
            let script = Script { logline: title.clone(), title, beats };
            serde_json::to_value(script).map_err(|error| error.to_string())
        }
        script => {
            let text = script.to_string();
            if text.len() > LONGEST_SCRIPT {
                let length = text.len();
                return Err(format!("it has {length} bytes; at most {LONGEST_SCRIPT} are taken"));
            }
            if text.contains("\\u0000") {
                return Err("it holds a NUL character".to_owned());
            }
            serde_json::from_value::<Script>(script.clone()).map_err(|error| error.to_string())?;
            Ok(script)
        }
    }
}

fn checked_feedback(
    line: &ProjectLine,
    shots: usize,
    wrong: &mut impl FnMut(String),
) -> Vec<PastFeedback> {
    let mut feedback: Vec<PastFeedback> = Vec::new();
    for (said, place) in line.feedback.iter().zip(1..) {
        if said.rating.is_none() && said.note.trim().is_empty() {
            wrong(format!("feedback {place} has neither a rating nor a note"));
        }
        if said.shot.is_some_and(|shot| shot == 0 || shot as usize > shots) {
            wrong(format!("feedback {place} is about a shot that there is not"));
        }
        if said.rating.is_some_and(|rating| !(1..=5).contains(&rating)) {
            wrong(format!("feedback {place}: rating is not from 1 to 5"));
        }
        if let Some(problem) = year_problem(said.created_at) {
            wrong(format!("feedback {place}: created_at: {problem}"));
        }
        if let Some(problem) = text_problem(&said.note) {
            wrong(format!("feedback {place}: note {problem}"));
        }
        feedback.push(PastFeedback {
            created_at: to_microseconds(said.created_at),
            shot: said.shot,
            rating: said.rating,
            note: said.note.clone(),
        });
    }
    feedback.sort();
    match (line.rating, latest_rating(&feedback)) {
        (Some(rating), _) if !(1..=5).contains(&rating) => {
            wrong(format!("rating is {rating}, not from 1 to 5"));
        }
        (Some(rating), None) => {
            let created_at = to_microseconds(line.created_at);
            let rating = Some(rating);
            feedback.push(PastFeedback { created_at, shot: None, rating, note: String::new() });
            feedback.sort();
        }
        (Some(rating), Some(latest)) if rating != latest => {
            wrong(format!("rating is {rating}, and the latest in feedback is {latest}"));
        }
        _ => {}
    }
    feedback
}

/// What is wrong with a vector, which is brought to the length 1.
fn vector_problem(vector: &mut VectorLine, shots: usize) -> Option<String> {
    let is_of_shot = vector.of == PassageKind::Shot;
    if !matches!(vector.of, PassageKind::Project | PassageKind::Script | PassageKind::Shot) {
        return Some(format!("{} is none of project, script, shot", vector.of));
    }
    if is_of_shot != vector.shot.is_some_and(|shot| shot > 0 && shot as usize <= shots) {
        return Some("shot is not the number of a shot".to_owned());
    }
    if vector.model.trim().is_empty()
        || vector.model.chars().count() > LONGEST_NAME
        || vector.model.chars().any(char::is_control)
    {
        return Some("model is not a name".to_owned());
    }
    if vector.numbers.len() > VECTOR_WIDTH {
        return Some(format!("{} numbers; at most {VECTOR_WIDTH} are taken", vector.numbers.len()));
    }
    let is_direction =
        to_unit_length(&mut vector.numbers) && vector.numbers.iter().any(|number| *number != 0.0);
    (!is_direction).then(|| "the numbers are no direction".to_owned())
}

/// The database, the calendar of the reports and the format of the export hold four digits.
fn year_problem(time: Timestamp) -> Option<String> {
    let year = time.to_zoned(TimeZone::UTC).year();
    (year < 1).then(|| format!("the year {year} is not from 1 to 9999"))
}

fn text_problem(text: &str) -> Option<String> {
    let length = text.chars().count();
    if length > LONGEST_TEXT {
        return Some(format!("has {length} characters; at most {LONGEST_TEXT} are taken"));
    }
    text.contains('\0').then(|| "holds a NUL character".to_owned())
}

fn is_length(seconds: Decimal) -> bool {
    thousandths(seconds) > Decimal::ZERO && seconds <= Decimal::from(LONGEST_SECONDS)
}

/// As exact as the database keeps it.
fn thousandths(seconds: Decimal) -> Decimal {
    seconds.round_dp(3).normalize()
}

/// As exact as the database keeps it.
fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults<'_> =
        Defaults { user: "ada", user_map: &[], slug_of: |_| "slug".to_owned() };

    fn read(line: &str) -> Result<PastProject, Vec<String>> {
        let line: ProjectLine =
            serde_json::from_str(line).map_err(|error| vec![error.to_string()])?;
        line.into_project(DEFAULTS).map(|(project, _)| project)
    }

    #[test]
    fn the_least_line_is_a_project_and_the_same_one_every_time() {
        let line = r#"{"format":1,"created_at":"2025-03-01","brief":" latte art "}"#;
        let project = read(line).unwrap();
        assert_eq!(project, read(line).unwrap());
        assert_eq!((project.user_id.as_str(), project.brief.as_str()), ("ada", "latte art"));
        assert_eq!(project.created_at.to_string(), "2025-03-01T00:00:00Z");
        assert_eq!((project.aspect.as_str(), project.shot_count), ("9:16", 1));
        let other = read(&line.replace("latte", "flat white")).unwrap();
        assert_ne!(project.id, other.id);
    }

    #[test]
    fn a_rating_alone_is_feedback_of_its_day() {
        let project =
            read(r#"{"format":1,"created_at":"2025-03-01","brief":"b","rating":4}"#).unwrap();
        assert_eq!(project.feedback.len(), 1);
        assert_eq!(project.feedback[0].rating, Some(4));
        assert_eq!(project.feedback[0].created_at, project.created_at);
    }

    #[test]
    fn a_script_may_be_plain_text() {
        let project = read(
            r#"{"format":1,"created_at":"2025-03-01","brief":"b","title":"T","script":"One.\n\nTwo."}"#,
        )
        .unwrap();
        let script: Script = serde_json::from_value(project.script.unwrap()).unwrap();
        assert_eq!(script.title, "T");
        let actions: Vec<_> = script.beats.iter().map(|beat| beat.action.as_str()).collect();
        assert_eq!(actions, ["One.", "Two."]);
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        let problems = read(
            r#"{"format":2,"created_at":"2025-03-01","brief":"","aspect":"5:4","rating":9,
                "shots":[{"number":2,"image_prompt":" ","duration_seconds":0}],
                "feedback":[{"created_at":"2025-03-01","shot":7}]}"#,
        )
        .unwrap_err();
        for problem in [
            "format is 2",
            "brief: the brief is empty",
            "aspect: '5:4'",
            "shot 1 has the number 2",
            "image_prompt is empty",
            "duration_seconds is not above 0",
            "feedback 1 has neither",
            "feedback 1 is about a shot that there is not",
            "rating is 9",
        ] {
            assert!(problems.iter().any(|told| told.contains(problem)), "{problem}: {problems:?}");
        }
        let unknown = read(r#"{"format":1,"created_at":"2025-03-01","brief":"b","tilte":"x"}"#);
        assert!(unknown.unwrap_err()[0].contains("unknown field `tilte`"));
    }

    #[test]
    fn lengths_that_no_sum_holds_are_refused_and_break_nothing() {
        let problems = read(
            r#"{"format":1,"created_at":"2025-03-01","brief":"b",
                "shots":[{"image_prompt":"a","duration_seconds":7e28},{"image_prompt":"b","duration_seconds":7e28}]}"#,
        )
        .unwrap_err();
        for problem in
            ["shot 1: duration_seconds", "shot 2: duration_seconds", "duration_seconds is not"]
        {
            assert!(
                problems.iter().any(|told| told.starts_with(problem)),
                "{problem}: {problems:?}"
            );
        }
    }

    #[test]
    fn years_without_four_digits_are_refused_by_name() {
        let problems = read(
            r#"{"format":1,"created_at":"0000-12-31","brief":"b",
                "feedback":[{"created_at":"-000044-03-15T12:00:00Z","rating":1}]}"#,
        )
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "created_at: the year 0 is not from 1 to 9999",
                "feedback 1: created_at: the year -44 is not from 1 to 9999",
            ]
        );
        for day in ["0001-01-01", "9999-12-30"] {
            let line = format!(r#"{{"format":1,"created_at":"{day}","brief":"b"}}"#);
            assert!(read(&line).is_ok(), "{day}");
        }
        let late = read(r#"{"format":1,"created_at":"10000-01-01","brief":"b"}"#).unwrap_err();
        assert!(late[0].contains("'10000-01-01' is not a time"), "{late:?}");
    }

    #[test]
    fn vectors_come_in_at_length_one_or_not_at_all() {
        let line = |numbers: &str| {
            let line = format!(
                r#"{{"format":1,"created_at":"2025-03-01","brief":"b","vectors":[
                    {{"of":"project","sha256":"","model":"m","numbers":[{numbers}]}}]}}"#
            );
            serde_json::from_str::<ProjectLine>(&line).unwrap().into_project(DEFAULTS)
        };
        let (_, vectors) = line("60000, 80000").unwrap();
        assert_eq!(vectors[0].numbers, [0.6, 0.8]);
        for numbers in ["1, 1e39", "0, 0", ""] {
            let problems = line(numbers).unwrap_err();
            assert_eq!(problems, ["vectors: the numbers are no direction"], "{numbers}");
        }
    }

    #[test]
    fn users_are_mapped() {
        let map = [("bob".to_owned(), "ada".to_owned()), ("*".to_owned(), "team".to_owned())];
        let defaults = Defaults { user: "me", user_map: &map, ..DEFAULTS };
        assert_eq!(defaults.user_of(Some("bob")), "ada");
        assert_eq!(defaults.user_of(Some("eve")), "team");
        assert_eq!(defaults.user_of(None), "team");
        assert_eq!(DEFAULTS.user_of(None), "ada");
    }
}
