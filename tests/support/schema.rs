//! JSON schemas of tools, from the vendor's side: which ones are taken with `strict`, whether an
//! input fits one, and how to make an input that fits.

use serde_json::{Map, Value, json};

/// Keywords that a strict schema may use (providers.md 1.8); everything else belongs into a
/// description.
const KEYWORDS: [&str; 16] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "definitions",
    "title",
    "description",
    "format",
    "minItems",
];
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// What stops a schema from being taken with `strict: true`, with the place of each.
pub fn strict_problems(schema: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    walk(schema, "input_schema", &mut problems);
    if schema["type"] != "object" {
        problems.push("input_schema: the type is not 'object'".to_owned());
    }
    problems
}

fn walk(schema: &Value, place: &str, problems: &mut Vec<String>) {
    let Some(members) = schema.as_object() else {
        problems.push(format!("{place}: a schema is an object"));
        return;
    };
    for (keyword, value) in members {
        if !KEYWORDS.contains(&keyword.as_str()) {
            problems.push(format!("{place}: '{keyword}' is not supported"));
        }
        match keyword.as_str() {
            "properties" | "$defs" | "definitions" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    walk(inner, &format!("{place}.{name}"), problems);
                }
            }
            "items" => walk(value, &format!("{place}[]"), problems),
            "anyOf" | "allOf" => {
                for inner in value.as_array().into_iter().flatten() {
                    walk(inner, &format!("{place}.{keyword}"), problems);
                }
            }
            "format" if !FORMATS.iter().any(|format| value == format) => {
                problems.push(format!("{place}: the format {value} is not supported"));
            }
            "minItems" if value != &json!(0) && value != &json!(1) => {
                problems.push(format!("{place}: minItems may be 0 or 1"));
            }
            "$ref" if !value.as_str().is_some_and(|target| target.starts_with("#/")) => {
                problems.push(format!("{place}: a $ref must stay inside the schema"));
            }
            _ => {}
        }
    }
    let is_object = schema["type"] == "object" || members.contains_key("properties");
    if is_object && schema["additionalProperties"] != json!(false) {
        problems.push(format!("{place}: 'additionalProperties' must be false"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if name.as_str().is_none_or(|name| schema["properties"].get(name).is_none()) {
            problems.push(format!("{place}: {name} is required and not described"));
        }
    }
}

/// Why `value` does not fit `schema`; nothing where it does.
pub fn misfit(value: &Value, schema: &Value) -> Option<String> {
    misfit_at(value, schema, schema, "input")
}

fn misfit_at(value: &Value, schema: &Value, root: &Value, place: &str) -> Option<String> {
    let schema = resolve(schema, root);
    if let Some(options) = schema["anyOf"].as_array()
        && options.iter().all(|option| misfit_at(value, option, root, place).is_some())
    {
        return Some(format!("{place}: no alternative of anyOf fits"));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        if let Some(misfit) = misfit_at(value, part, root, place) {
            return Some(misfit);
        }
    }
    if let Some(options) = schema["enum"].as_array()
        && !options.contains(value)
    {
        return Some(format!("{place}: {value} is not among the choices"));
    }
    if schema.get("const").is_some_and(|constant| constant != value) {
        return Some(format!("{place}: {value} is not {}", schema["const"]));
    }
    let kinds = kinds(schema);
    if !kinds.is_empty() && !kinds.iter().any(|kind| is_of_kind(value, kind)) {
        return Some(format!("{place}: {value} is not of type {}", kinds.join(" or ")));
    }
    match value {
        Value::Object(members) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap_or_default();
                if !members.contains_key(name) {
                    return Some(format!("{place}.{name} is missing"));
                }
            }
            members.iter().find_map(|(name, inner)| match schema["properties"].get(name) {
                Some(described) => misfit_at(inner, described, root, &format!("{place}.{name}")),
                None if schema["additionalProperties"] == json!(false) => {
                    Some(format!("{place}.{name} is not described"))
                }
                None => None,
            })
        }
        Value::Array(items) => {
            if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
                return Some(format!("{place}: too few items"));
            }
            let described = schema.get("items")?;
            items.iter().enumerate().find_map(|(index, item)| {
                misfit_at(item, described, root, &format!("{place}[{index}]"))
            })
        }
        _ => None,
    }
}

fn resolve<'schema>(schema: &'schema Value, root: &'schema Value) -> &'schema Value {
    match schema["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).map_or(schema, |inner| resolve(inner, root)),
        None => schema,
    }
}

/// The types that a schema names, in its order.
fn kinds(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// Bends `wish` into an input that fits `schema`: what the schema does not describe is left out,
/// what it requires and the wish lacks is made up, numbers become strings where strings are
/// asked for and the other way round.
pub fn conform(wish: &Value, schema: &Value) -> Value {
    conform_at(Some(wish), schema, schema, "")
}

fn conform_at(wish: Option<&Value>, schema: &Value, root: &Value, name: &str) -> Value {
    let schema = resolve(schema, root);
    if let Some(wish) = wish
        && misfit_at(wish, schema, root, name).is_none()
    {
        return wish.clone();
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    for combination in ["anyOf", "allOf"] {
        if let Some(first) = schema[combination].get(0) {
            return conform_at(wish, first, root, name);
        }
    }
    match kinds(schema).first().copied() {
        Some("object") => {
            let wished = wish.and_then(Value::as_object);
            let mut made = Map::new();
            for (name, described) in schema["properties"].as_object().into_iter().flatten() {
                let wish = wished.and_then(|wished| wished.get(name));
                let is_required =
                    schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
                if wish.is_some() || is_required {
                    made.insert(name.clone(), conform_at(wish, described, root, name));
                }
            }
            Value::Object(made)
        }
        Some("array") => {
            let items = wish.and_then(Value::as_array).cloned().unwrap_or_default();
            let mut items: Vec<_> = items
                .iter()
                .map(|item| conform_at(Some(item), &schema["items"], root, name))
                .collect();
            if items.is_empty() && schema["minItems"] == json!(1) {
                items.push(conform_at(None, &schema["items"], root, name));
            }
            Value::Array(items)
        }
        Some("string") => match wish {
            Some(Value::Number(number)) => json!(number.to_string()),
            Some(Value::Null) | None => json!(format!("{} of the film", name.replace('_', " "))),
            Some(other) => json!(other.to_string()),
        },
        Some("integer") => {
            let number = wish.and_then(as_number).unwrap_or(1.0);
            json!(format!("{number:.0}").parse::<i64>().unwrap_or(1))
        }
        Some("number") => json!(wish.and_then(as_number).unwrap_or(1.0)),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

fn as_number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}
