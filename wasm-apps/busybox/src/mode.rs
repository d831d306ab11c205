//! File modes as `chmod` is told them: octal, or symbolic such as `u+x,go=r`.

/// A change of a file's permissions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// To exactly this; but a folder's set-id bits stay, unless they are said with a fifth digit.
    Octal {
        mode: u32,
        keeps_special: bool,
    },
    Symbolic(Vec<Clause>),
}

/// `go-w`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    /// The bits of those it is about: `0o700`, `0o070` and `0o007` with their special bits.
    who: u32,
    /// Nobody is named: all are meant, but for what the umask takes away.
    masked: bool,
    operator: char,
    /// Permissions, in all three places, with special bits.
    bits: u32,
    /// `X`: execution, where it is a folder or anybody may execute it.
    conditional: bool,
    /// `u`, `g` or `o` as permissions: what those have.
    copied: Option<char>,
}

impl Change {
    /// Reads a mode; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok()?;
            let keeps_special = text.len() < 5;
            return (mode <= 0o7777).then_some(Self::Octal { mode, keeps_special });
        }
        let mut clauses = Vec::new();
        for clause in text.split(',') {
            let operators = |character: char| "+-=".contains(character);
            let mut rest = &clause[clause.find(operators)?..];
            let letters = &clause[..clause.len() - rest.len()];
            let (who, masked) = (who(letters)?, letters.is_empty());
            while let Some(operator) = rest.chars().next() {
                let end = rest[1..].find(operators).map_or(rest.len(), |at| at + 1);
                clauses.push(Clause { masked, ..Clause::parse(who, operator, &rest[1..end])? });
                rest = &rest[end..];
            }
        }
        Some(Self::Symbolic(clauses))
    }

    /// What becomes of a mode.
    pub(crate) fn apply(&self, mode: u32, is_folder: bool, umask: u32) -> u32 {
        match self {
            Self::Octal { mode: new, keeps_special: true } if is_folder => new | mode & 0o6000,
            Self::Octal { mode: new, .. } => *new,
            Self::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_folder, umask)),
        }
    }
}

/// The bits of those the letters stand for; nobody means all.
fn who(letters: &str) -> Option<u32> {
    let bits = |letter| match letter {
        'u' => Some(0o4700),
        'g' => Some(0o2070),
        'o' => Some(0o1007),
        'a' => Some(0o7777),
        _ => None,
    };
    let who = letters.chars().try_fold(0, |who, letter| Some(who | bits(letter)?))?;
    Some(if who == 0 { 0o7777 } else { who })
}

impl Clause {
    fn parse(who: u32, operator: char, letters: &str) -> Option<Self> {
        let mut clause = Self { who, masked: false, operator, bits: 0, conditional: false, copied: None };
        for letter in letters.chars() {
            match letter {
                'r' => clause.bits |= 0o444,
                'w' => clause.bits |= 0o222,
                'x' => clause.bits |= 0o111,
                's' => clause.bits |= 0o6000,
                't' => clause.bits |= 0o1000,
                'X' => clause.conditional = true,
                'u' | 'g' | 'o' if letters.len() == 1 => clause.copied = Some(letter),
                _ => return None,
            }
        }
        Some(clause)
    }

    fn apply(&self, mode: u32, is_folder: bool, umask: u32) -> u32 {
        let mut bits = self.bits;
        if self.conditional && (is_folder || mode & 0o111 != 0) {
            bits |= 0o111;
        }
        if let Some(whose) = self.copied {
            let shift = match whose {
                'u' => 6,
                'g' => 3,
                _ => 0,
            };
            bits |= (mode >> shift & 7) * 0o111;
        }
        // The sticky bit is nobody's in particular.
        let bits = bits & (self.who | 0o1000) & if self.masked { !umask } else { 0o7777 };
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !(self.who & if is_folder { 0o777 } else { 0o7777 }) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: &str, before: u32, after: u32) {
        assert_eq!(Change::parse(change).map(|change| change.apply(before, false, 0o022)), Some(after), "{change}");
    }

    #[test]
    fn modes() {
        check("755", 0o600, 0o755);
        check("+x", 0o644, 0o755);
        check("u+x,go-r", 0o644, 0o700);
        check("a=r", 0o755, 0o444);
        check("u=rwX,g=u,o=", 0o711, 0o770);
        check("u+s,+t", 0o755, 0o5755);
        check("go-w+x", 0o666, 0o655);
        check("+w", 0o444, 0o644);
        check("a+w", 0o444, 0o666);
        check("=rw", 0o755, 0o644);
        assert_eq!(Change::parse("u+q"), None);
        assert_eq!(Change::parse("9"), None);
    }

    #[test]
    fn folders_keep_their_set_id_bits() {
        let folder = |change: &str| Change::parse(change).map(|change| change.apply(0o2755, true, 0o022));
        assert_eq!(folder("700"), Some(0o2700));
        assert_eq!(folder("00700"), Some(0o700));
        assert_eq!(folder("g-s"), Some(0o755));
        assert_eq!(folder("a=rx"), Some(0o2555));
    }
}
