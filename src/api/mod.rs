//! Kubernetes types, pure: decode, default, validate, the field support table.
