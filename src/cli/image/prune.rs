//! `husk image prune`.

use clap::Args;

/// What to remove.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Remove every image that nothing uses, not only content that no image needs
    #[arg(short, long)]
    pub all: bool,
    /// Don't ask before images are removed that may exist nowhere else
    #[arg(short, long)]
    pub force: bool,
    /// Remove pulled images, those first that were not used for longest, until the store has no more than this
    #[arg(long, value_name = "BYTES", conflicts_with = "all", value_parser = size)]
    pub to: Option<u64>,
}

/// Bytes, or with a suffix as Kubernetes has them: `500Mi`, `10G`.
pub(in crate::cli) fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|_| "expected a number of bytes such as 500Mi or 10G".to_owned())?;
    let factor: u64 = match &text[end..] {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        suffix => return Err(format!("unknown suffix {suffix:?}")),
    };
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_as_kubernetes_writes_them() {
        assert_eq!(size("10"), Ok(10));
        assert_eq!(size("2Mi"), Ok(2 << 20));
        assert_eq!(size("3G"), Ok(3_000_000_000));
        assert!(size("x").is_err() && size("1Q").is_err() && size("99999999999T").is_err());
    }
}
