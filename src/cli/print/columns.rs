//! `-o custom-columns=NAME:.metadata.name,…`.

use serde_json::Value;

use super::jsonpath::{self, Template};

/// Columns of one's own: headings and what is under them.
#[derive(Debug, Clone)]
pub struct CustomColumns(Vec<(String, Template)>);

impl CustomColumns {
    /// Reads `HEADING:PATH,…`.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub fn parse(spec: &str) -> Result<Self, String> {
        if spec.is_empty() {
            return Err("custom-columns format specified but no custom columns given".to_owned());
        }
        let columns = spec.split(',').map(|column| {
            let (heading, path) = column.split_once(':').filter(|(_, path)| !path.is_empty()).ok_or_else(|| {
                format!("unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>")
            })?;
            Ok((heading.to_owned(), Template::parse(&jsonpath::braced(path))?))
        });
        columns.collect::<Result<_, _>>().map(Self)
    }

    /// The headings.
    pub fn headings(&self) -> Vec<String> {
        self.0.iter().map(|(heading, _)| heading.clone()).collect()
    }

    /// The cells of an object.
    pub fn row(&self, object: &Value) -> Vec<String> {
        let cell = |template: &Template| {
            let found: Vec<String> = template.values(object).into_iter().map(jsonpath::text).collect();
            if found.is_empty() { "<none>".to_owned() } else { found.join(",") }
        };
        self.0.iter().map(|(_, template)| cell(template)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_of_ones_own_are_paths() {
        let columns = CustomColumns::parse("NAME:.metadata.name,IMAGES:.c[*].i,NONE:.x").unwrap();
        assert_eq!(columns.headings(), ["NAME", "IMAGES", "NONE"]);
        let object = json!({"metadata": {"name": "a"}, "c": [{"i": "x"}, {"i": "y"}]});
        assert_eq!(columns.row(&object), ["a", "x,y", "<none>"]);
        assert!(CustomColumns::parse("NAME").unwrap_err().contains("expected <header>"));
    }
}
