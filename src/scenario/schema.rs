//! The JSON Schema of a scenario file, from the same types that read it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Value, json};

use super::Scenario;

/// The JSON Schema of a scenario file (draft 2020-12).
#[must_use]
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(OwnKeys);
    settings.into_generator().into_root_schema_for::<Scenario>().to_value()
}

/// The same as text, as it is checked in beside the scenarios.
#[must_use]
pub fn json_schema_text() -> String {
    format!("{:#}\n", json_schema())
}

/// Every map that refuses unknown keys lets `x-*` through, as the reader does.
#[derive(Debug, Clone)]
struct OwnKeys;

impl Transform for OwnKeys {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get("additionalProperties") == Some(&json!(false)) {
            schema.insert("patternProperties".into(), json!({"^x-": {}}));
        }
        transform_subschemas(self, schema);
    }
}
