//! `husk completion`: what can be typed, and the scripts.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Arguments of `husk completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(husk completion bash)                                       in ~/.bashrc
  husk completion zsh > \"${fpath[1]}/_husk\"                            zsh, once
  husk completion fish > ~/.config/fish/completions/husk.fish          fish, once")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// The script for a shell.
pub fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "husk", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_completes_every_verb() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
            assert!(!script.contains("in-background"), "{shell}");
        }
    }
}
