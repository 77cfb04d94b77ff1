//! Rewrites a JSON schema into the subset that the vendor compiles for strict tools, as the
//! vendor's own SDK does (`lib/transform-json-schema`): what cannot be enforced is told to the
//! model in the description instead, and must be checked again on what comes back.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// String formats that the vendor enforces.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// The deepest nesting that is taken, in schemas within schemas.
const DEEPEST: usize = 32;

/// Why a schema cannot be made strict. A fault in the code that wrote the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A type that contains itself has no strict form.
    #[error("the schema refers to itself through {0}, or is nested too deeply")]
    Recursive(String),
    /// A reference to something that the schema does not define.
    #[error("the schema refers to {0}, which it does not define")]
    Undefined(String),
    /// The input of a tool must be an object.
    #[error("the input of a tool must be an object")]
    NotAnObject,
}

/// The strict input schema of a tool whose input is a `T`.
pub fn tool_schema<T: JsonSchema>() -> Result<Value, SchemaError> {
    let schema = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.meta_schema = None)
        .into_generator()
        .into_root_schema_for::<T>();
    strict_schema(schema.as_value())
}

/// `schema` within the vendor's strict subset:
///
/// - objects are closed (`additionalProperties: false`);
/// - `$ref` is replaced by what it refers to;
/// - `oneOf` becomes `anyOf`, and so does a list of types;
/// - a property that may be left out is not also nullable: the vendor limits unions;
/// - every keyword that is not enforced moves into the description.
pub fn strict_schema(schema: &Value) -> Result<Value, SchemaError> {
    let definitions = ["$defs", "definitions"]
        .iter()
        .find_map(|name| schema.get(name)?.as_object().cloned())
        .unwrap_or_default();
    let mut strict = Strict { definitions }.schema(schema, 0)?;
    if strict.get("type").and_then(Value::as_str) != Some("object") {
        return Err(SchemaError::NotAnObject);
    }
    // The name of the Rust type means nothing to the model, and the root needs none.
    if let Some(root) = strict.as_object_mut() {
        root.shift_remove("title");
    }
    Ok(strict)
}

struct Strict {
    definitions: Map<String, Value>,
}

impl Strict {
    fn schema(&self, schema: &Value, depth: usize) -> Result<Value, SchemaError> {
        // `true`, the schema of anything, has no strict form but the empty one.
        let Some(object) = schema.as_object() else { return Ok(json!({})) };
        let mut rest = object.clone();
        for unused in ["$defs", "definitions", "$schema", "default", "examples"] {
            rest.shift_remove(unused);
        }
        if let Some(reference) = rest.shift_remove("$ref") {
            return self.referred(&reference, rest, depth);
        }

        let mut strict = Map::new();
        let kind = rest.shift_remove("type");
        let union = rest.shift_remove("anyOf").or_else(|| rest.shift_remove("oneOf"));
        match (kind, union, rest.shift_remove("allOf")) {
            (_, Some(Value::Array(branches)), _) => {
                strict.insert("anyOf".to_owned(), self.each(&branches, depth)?);
            }
            (_, _, Some(Value::Array(branches))) => {
                strict.insert("allOf".to_owned(), self.each(&branches, depth)?);
            }
            (Some(Value::Array(kinds)), _, _) => return self.any_kind(&kinds, &rest, depth),
            (Some(kind), _, _) => {
                strict.insert("type".to_owned(), kind);
            }
            _ => {}
        }
        for kept in ["title", "description", "enum", "const"] {
            if let Some(value) = rest.shift_remove(kept) {
                strict.insert(kept.to_owned(), value);
            }
        }
        match strict.get("type").and_then(Value::as_str) {
            Some("object") => self.object(&mut strict, &mut rest, depth)?,
            Some("array") => {
                if let Some(items) = rest.shift_remove("items") {
                    strict.insert("items".to_owned(), self.schema(&items, depth + 1)?);
                }
                if rest.get("minItems").and_then(Value::as_u64).is_some_and(|least| least <= 1) {
                    strict.extend(rest.shift_remove_entry("minItems"));
                }
            }
            Some("string") => {
                let format = rest.get("format").and_then(Value::as_str);
                if format.is_some_and(|format| FORMATS.contains(&format)) {
                    strict.extend(rest.shift_remove_entry("format"));
                }
            }
            // `int32`, `uint8` and `double` only repeat what the bounds say.
            Some("integer" | "number") => {
                rest.shift_remove("format");
            }
            _ => {}
        }
        tell(&mut strict, &rest);
        Ok(Value::Object(strict))
    }

    fn each(&self, branches: &[Value], depth: usize) -> Result<Value, SchemaError> {
        branches.iter().map(|branch| self.schema(branch, depth + 1)).collect()
    }

    /// What is referred to, with the words that stand beside the reference.
    fn referred(
        &self,
        reference: &Value,
        beside: Map<String, Value>,
        depth: usize,
    ) -> Result<Value, SchemaError> {
        let reference = reference.as_str().unwrap_or_default().to_owned();
        if depth > DEEPEST {
            return Err(SchemaError::Recursive(reference));
        }
        let target = reference
            .strip_prefix("#/$defs/")
            .or_else(|| reference.strip_prefix("#/definitions/"))
            .and_then(|name| self.definitions.get(name)?.as_object());
        let Some(target) = target else { return Err(SchemaError::Undefined(reference)) };
        let mut merged = target.clone();
        merged.extend(beside);
        self.schema(&Value::Object(merged), depth + 1)
    }

    /// `{"type": ["string", "null"], …}` as one branch for each kind.
    fn any_kind(
        &self,
        kinds: &[Value],
        rest: &Map<String, Value>,
        depth: usize,
    ) -> Result<Value, SchemaError> {
        let mut common = rest.clone();
        let words: Map<_, _> = ["title", "description"]
            .iter()
            .filter_map(|name| common.shift_remove_entry(*name))
            .collect();
        let branches: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                let mut branch = Map::from_iter([("type".to_owned(), kind.clone())]);
                if kind != "null" {
                    branch.extend(common.clone());
                }
                Value::Object(branch)
            })
            .collect();
        let mut union = Map::from_iter([("anyOf".to_owned(), Value::Array(branches))]);
        union.extend(words);
        self.schema(&Value::Object(union), depth + 1)
    }

    fn object(
        &self,
        strict: &mut Map<String, Value>,
        rest: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), SchemaError> {
        rest.shift_remove("additionalProperties");
        let required = rest.shift_remove("required").unwrap_or_else(|| json!([]));
        let is_required = |name: &str| {
            required.as_array().is_some_and(|names| names.iter().any(|one| one == name))
        };
        let mut properties = Map::new();
        if let Some(Value::Object(declared)) = rest.shift_remove("properties") {
            for (name, schema) in declared {
                let mut property = self.schema(&schema, depth + 1)?;
                if !is_required(&name) {
                    property = without_null(property);
                }
                properties.insert(name, property);
            }
        }
        strict.insert("properties".to_owned(), Value::Object(properties));
        strict.insert("required".to_owned(), required);
        strict.insert("additionalProperties".to_owned(), Value::Bool(false));
        Ok(())
    }
}

/// A union of something and null, as that something alone.
fn without_null(schema: Value) -> Value {
    let Value::Object(mut union) = schema else { return schema };
    let Some(Value::Array(branches)) = union.get_mut("anyOf") else { return Value::Object(union) };
    branches.retain(|branch| branch != &json!({"type": "null"}));
    if branches.len() != 1 {
        return Value::Object(union);
    }
    let Some(Value::Object(mut alone)) = branches.pop() else { return Value::Object(union) };
    union.shift_remove("anyOf");
    // The words at the property say more than those at the type.
    alone.extend(union);
    Value::Object(alone)
}

/// Moves what cannot be enforced into the description, where the model reads it.
fn tell(strict: &mut Map<String, Value>, rest: &Map<String, Value>) {
    if rest.is_empty() {
        return;
    }
    let bounds: Vec<String> = rest.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let bounds = format!("{{{}}}", bounds.join(", "));
    let words = strict.get("description").and_then(Value::as_str);
    let told = words.map_or_else(|| bounds.clone(), |words| format!("{words}\n\n{bounds}"));
    strict.insert("description".to_owned(), Value::String(told));
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;

    /// A shot.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Shot {
        /// Its number.
        #[schemars(range(min = 1, max = 60))]
        number: u32,
        mood: Option<Mood>,
        note: Option<String>,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Mood {
        Calm,
        Loud,
    }

    /// All shots.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Submitted {
        #[schemars(length(min = 1, max = 9))]
        shots: Vec<Shot>,
    }

    #[test]
    fn a_derived_schema_becomes_strict() {
        assert_eq!(
            tool_schema::<Submitted>().unwrap(),
            json!({
                "type": "object",
                "description": "All shots.",
                "properties": {"shots": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "description": "A shot.",
                        "properties": {
                            "number": {"type": "integer", "description": "Its number.\n\n{minimum: 1, maximum: 60}"},
                            "mood": {"type": "string", "enum": ["calm", "loud"]},
                            "note": {"type": "string"},
                        },
                        "required": ["number"],
                        "additionalProperties": false,
                    },
                    "minItems": 1,
                    "description": "{maxItems: 9}",
                }},
                "required": ["shots"],
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn unions_formats_and_bounds_follow_the_vendors_rules() {
        let schema = json!({
            "type": "object",
            "additionalProperties": true,
            "required": ["either", "nullable", "when", "secret", "many"],
            "properties": {
                "either": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer", "format": "int64"}]},
                "nullable": {"type": ["number", "null"], "minimum": 0, "description": "A size."},
                "when": {"type": "string", "format": "date"},
                "secret": {"type": "string", "format": "password", "pattern": "^a"},
                "many": {"type": "array", "items": {"const": "x"}, "minItems": 2},
            }
        });
        assert_eq!(
            strict_schema(&schema).unwrap()["properties"],
            json!({
                "either": {"anyOf": [{"type": "string", "description": "{minLength: 1}"}, {"type": "integer"}]},
                "nullable": {
                    "anyOf": [{"type": "number", "description": "{minimum: 0}"}, {"type": "null"}],
                    "description": "A size.",
                },
                "when": {"type": "string", "format": "date"},
                "secret": {"type": "string", "description": "{format: \"password\", pattern: \"^a\"}"},
                "many": {"type": "array", "items": {"const": "x"}, "description": "{minItems: 2}"},
            })
        );
    }

    #[test]
    fn what_has_no_strict_form_is_an_error() {
        let recursive = json!({
            "type": "object",
            "properties": {"child": {"$ref": "#/$defs/Node"}},
            "$defs": {"Node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/Node"}}}},
        });
        assert!(matches!(strict_schema(&recursive), Err(SchemaError::Recursive(_))));
        let undefined = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/Gone"}}});
        assert!(matches!(strict_schema(&undefined), Err(SchemaError::Undefined(_))));
        assert_eq!(strict_schema(&json!({"type": "string"})), Err(SchemaError::NotAnObject));
    }
}
