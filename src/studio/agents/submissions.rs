//! Reads what the model hands to a tool, and says what is wrong with it in words that it can act
//! on. Strict tools make broken input rare, not impossible.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::studio::agents::Assignment;
use crate::studio::script::{Beat, Script};
use crate::studio::storyboard::{Shot, Storyboard};

/// The longest query, in characters.
const LONGEST_QUERY: usize = 400;
/// The longest instructions of the Orchestrator, in characters.
const LONGEST_INSTRUCTIONS: usize = 8_000;
/// How much of a complaint is kept, in characters: it may quote what it complains about.
const LONGEST_COMPLAINT: usize = 300;

/// The input of the two searches.
pub(super) fn read_query(input: &Value) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        query: String,
    }
    let Input { query } = read(input)?;
    within("query", query, LONGEST_QUERY)
}

/// The input of the two questions.
pub(super) fn read_instructions(input: &Value) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        instructions: String,
    }
    let Input { instructions } = read(input)?;
    within("instructions", instructions, LONGEST_INSTRUCTIONS)
}

/// The input of `submit_script`, checked.
pub(super) fn read_script(input: &Value) -> Result<Script, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        title: String,
        logline: String,
        beats: Vec<Value>,
    }
    let Input { title, logline, beats } = read(input)?;
    let beats: Vec<Beat> = read_each("beat", &beats)?;
    let script = Script { title, logline, beats };
    script.check().map_err(|error| error.to_string())?;
    Ok(script)
}

/// The input of `submit_storyboard`, checked against the brief and what there is to refer to.
pub(super) fn read_storyboard(
    input: &Value,
    assignment: &Assignment,
) -> Result<Storyboard, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        title: String,
        shots: Vec<Value>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ShotInput {
        number: u32,
        image_prompt: String,
        motion_prompt: String,
        duration_seconds: Number,
        on_screen_text: String,
        narration: String,
        references: Vec<String>,
    }
    let Input { title, shots } = read(input)?;
    let (brief, longest_shot_seconds) = (&assignment.brief, assignment.longest_shot_seconds);
    let shots = read_each::<ShotInput>("shot", &shots)?
        .into_iter()
        .enumerate()
        .map(|(index, shot)| {
            let place = index + 1;
            if let Some(parameter) = image_parameter(&shot.image_prompt) {
                return Err(format!(
                    "the image_prompt of shot {place} holds the parameter {parameter}; describe it in words or leave it out"
                ));
            }
            let duration_seconds = exact_decimal(&shot.duration_seconds).ok_or_else(|| {
                format!(
                    "the duration_seconds of shot {place} is {}, which is no usable number of seconds",
                    shot.duration_seconds
                )
            })?;
            Ok(Shot {
                number: shot.number,
                image_prompt: shot.image_prompt,
                motion_prompt: shot.motion_prompt,
                duration_seconds,
                on_screen_text: shot.on_screen_text,
                narration: shot.narration,
                references: shot.references,
            })
        })
        .collect::<Result<_, String>>()?;
    let storyboard = Storyboard { title, shots }.fitted(brief, longest_shot_seconds);
    storyboard.check(brief, longest_shot_seconds).map_err(|error| error.to_string())?;
    storyboard.check_references(&assignment.references).map_err(|error| error.to_string())?;
    Ok(storyboard)
}

/// The decimal that the JSON text says, digit for digit: `2.1` is 2.1 and not the float next to
/// it, which prints as the same digits it was read from.
fn exact_decimal(number: &Number) -> Option<Decimal> {
    let digits = number.to_string();
    Decimal::from_str_exact(&digits)
        .or_else(|_| Decimal::from_scientific(&digits))
        .ok()
        .map(|decimal| decimal.normalize())
}

/// A parameter such as `--ar` in an image prompt. The request sets them itself, and one that
/// contradicts it is refused or, worse, obeyed.
fn image_parameter(prompt: &str) -> Option<&str> {
    prompt.split_whitespace().find(|word| {
        word.strip_prefix("--").is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic()))
    })
}

fn read<Input: DeserializeOwned>(input: &Value) -> Result<Input, String> {
    Input::deserialize(input).map_err(|error| complaint(&error))
}

/// Reads a list one by one, so that a complaint can name the place.
fn read_each<Item: DeserializeOwned>(what: &str, items: &[Value]) -> Result<Vec<Item>, String> {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            Item::deserialize(item)
                .map_err(|error| format!("{what} {}: {}", index + 1, complaint(&error)))
        })
        .collect()
}

fn complaint(error: &serde_json::Error) -> String {
    error.to_string().chars().take(LONGEST_COMPLAINT).collect()
}

fn within(what: &str, text: String, most: usize) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err(format!("{what} is empty"));
    }
    if length > most {
        return Err(format!("{what} has {length} characters; at most {most} are taken"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;
    use serde_json::json;

    use super::*;
    use crate::studio::agents::rehearsal;

    fn number(text: &str) -> Option<Decimal> {
        exact_decimal(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn durations_are_the_digits_that_were_written() {
        assert_eq!(number("5"), Some(dec!(5)));
        assert_eq!(number("2.1"), Some(dec!(2.1)));
        assert_eq!(number("0.1"), Some(dec!(0.1)));
        assert_eq!(number("4.999999999999999"), Some(dec!(4.999999999999999)));
        assert_eq!(number("1e1"), Some(dec!(10)));
        assert_eq!(number("1e300"), None);
        // Three shots of 3.3 and one of 0.1 are ten seconds, which they are not as floats.
        let sum: Decimal = ["3.3", "3.3", "3.3", "0.1"].into_iter().filter_map(number).sum();
        assert_eq!(sum, dec!(10));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let assignment = rehearsal::assignment();
        let good = rehearsal::storyboard_input();
        assert_eq!(read_storyboard(&good, &assignment).unwrap().duration_seconds(), dec!(10));

        let complaint = |change: &dyn Fn(&mut Value)| {
            let mut input = good.clone();
            change(&mut input);
            read_storyboard(&input, &assignment).unwrap_err()
        };
        assert_eq!(
            complaint(&|input| {
                input["shots"][1].as_object_mut().unwrap().remove("motion_prompt");
            }),
            "shot 2: missing field `motion_prompt`"
        );
        assert!(
            complaint(&|input| input["shots"][0]["duration_seconds"] = json!("5"))
                .starts_with("shot 1: invalid type: string \"5\"")
        );
        assert!(
            complaint(&|input| input["mood"] = json!("calm")).starts_with("unknown field `mood`")
        );
        assert!(complaint(&|input| *input = json!("no")).starts_with("invalid type: string"));
        assert!(complaint(&|input| *input = Value::Null).starts_with("invalid type: null"));
        assert_eq!(
            complaint(&|input| input["shots"].as_array_mut().unwrap().truncate(1)),
            "the storyboard has 1 shot; 2 were asked for"
        );
        assert!(
            complaint(&|input| {
                input["shots"][0]["image_prompt"] = json!("a bowl -- steaming --ar 16:9");
            })
            .contains("the parameter --ar")
        );
        let noisy = complaint(&|input| input["shots"][0]["number"] = json!("9".repeat(5_000)));
        assert!(noisy.chars().count() < 400, "{noisy}");
    }

    #[test]
    fn wrong_numbers_and_sums_are_put_right() {
        let assignment = rehearsal::assignment();
        let mut input = rehearsal::storyboard_input();
        input["shots"][1]["number"] = json!(3);
        input["shots"][1]["duration_seconds"] = json!(7.5);
        let storyboard = read_storyboard(&input, &assignment).unwrap();
        assert_eq!(storyboard.shots[1].number, 2);
        assert_eq!(storyboard.duration_seconds(), dec!(10));
    }

    #[test]
    fn scripts_need_beats_and_no_other_fields() {
        let good = rehearsal::script_input();
        assert_eq!(read_script(&good).unwrap().beats.len(), 2);

        let mut empty = good.clone();
        empty["beats"].as_array_mut().unwrap().clear();
        assert!(read_script(&empty).is_err());
        let mut odd = good;
        odd["beats"][1]["camera"] = json!("wide");
        assert!(read_script(&odd).unwrap_err().starts_with("beat 2: unknown field `camera`"));
    }

    #[test]
    fn queries_and_instructions_are_bounded() {
        assert_eq!(read_query(&json!({"query": "soup"})), Ok("soup".to_owned()));
        assert_eq!(read_query(&json!({"query": " "})), Err("query is empty".to_owned()));
        assert!(read_query(&json!({"query": "x".repeat(401)})).is_err());
        assert!(read_query(&json!({})).unwrap_err().contains("missing field `query`"));
        assert!(read_instructions(&json!({"instructions": "x".repeat(8_000)})).is_ok());
        assert!(read_instructions(&json!({"instructions": "x".repeat(8_001)})).is_err());
    }
}
