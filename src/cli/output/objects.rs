//! `-o json|yaml`: the final objects.

use serde::Serialize;

use crate::cli::run::OutputFormat;

/// Renders objects as `kubectl get -o` does: JSON as one object or a `List`, YAML likewise, ending in a newline.
pub fn render<T: Serialize>(format: OutputFormat, items: &[T]) -> anyhow::Result<String> {
    let value = match items {
        [item] => serde_json::to_value(item)?,
        items => serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }),
    };
    match format {
        OutputFormat::Json => Ok(format!("{}\n", serde_json::to_string_pretty(&value)?)),
        OutputFormat::Yaml => Ok(format!("{}\n", serde_yaml::to_string(&value)?.trim_end())),
    }
}
