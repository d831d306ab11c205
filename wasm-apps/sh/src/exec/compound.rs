//! Compound commands.

use std::rc::Rc;

use super::{Flow, Run, Shell};
use crate::syntax::ast::{Arm, Compound, Condition, List, Word};

impl Shell {
    pub(super) fn compound(&mut self, compound: &Compound) -> Run {
        match compound {
            Compound::Group(list) => self.list(list),
            Compound::Subshell(list) => {
                self.subshell(|shell| shell.list(list));
                Ok(())
            }
            Compound::If { branches, otherwise } => self.if_command(branches, otherwise.as_ref()),
            Compound::For { name, words, body } => self.for_loop(name, words.as_deref(), body),
            Compound::While { until, condition, body } => self.while_loop(*until, condition, body),
            Compound::Case { word, arms } => self.case(word, arms),
            Compound::Condition(condition) => {
                let holds = self.holds(condition)?;
                self.state.status = u8::from(!holds);
                Ok(())
            }
            Compound::Arithmetic(arithmetic) => {
                let value = self.arithmetic(arithmetic)?;
                self.state.status = u8::from(value == 0);
                Ok(())
            }
        }
    }

    fn if_command(&mut self, branches: &[(List, List)], otherwise: Option<&List>) -> Run {
        for (condition, body) in branches {
            self.condition(condition)?;
            if self.state.status == 0 {
                return self.list(body);
            }
        }
        self.state.status = 0;
        otherwise.map_or(Ok(()), |otherwise| self.list(otherwise))
    }

    fn for_loop(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Run {
        let values = match words {
            Some(words) => self.expand_fields(words)?,
            None => self.state.positional.to_vec(),
        };
        self.state.status = 0;
        for value in values {
            self.assign(name, value)?;
            if !self.turn(|shell| shell.list(body))? {
                break;
            }
        }
        Ok(())
    }

    fn while_loop(&mut self, until: bool, condition: &List, body: &List) -> Run {
        let mut status = 0;
        loop {
            let goes_on = self.turn(|shell| {
                shell.condition(condition)?;
                if (shell.state.status == 0) == until {
                    shell.state.status = status;
                    return Err(Flow::Break(1));
                }
                shell.list(body)
            })?;
            status = self.state.status;
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// One turn of a loop; `false` if it was the last.
    fn turn(&mut self, run: impl FnOnce(&mut Self) -> Run) -> Result<bool, Flow> {
        self.state.loops += 1;
        let result = run(self);
        self.state.loops -= 1;
        match result {
            Ok(()) | Err(Flow::Continue(1)) => Ok(true),
            Err(Flow::Break(1)) => Ok(false),
            Err(Flow::Continue(levels)) => Err(Flow::Continue(levels - 1)),
            Err(Flow::Break(levels)) => Err(Flow::Break(levels - 1)),
            Err(flow) => Err(flow),
        }
    }

    fn case(&mut self, word: &Word, arms: &[Arm]) -> Run {
        let text = self.expand_to_text(word)?;
        let mut arms = arms.iter();
        while let Some(arm) = arms.next() {
            if !self.any_matches(&arm.patterns, &text)? {
                continue;
            }
            if arm.body.items.is_empty() {
                self.state.status = 0;
            }
            self.list(&arm.body)?;
            let mut falls_through = arm.falls_through;
            while let Some(next) = arms.next().filter(|_| falls_through) {
                self.list(&next.body)?;
                falls_through = next.falls_through;
            }
            return Ok(());
        }
        self.state.status = 0;
        Ok(())
    }

    fn any_matches(&mut self, patterns: &[Word], text: &[u8]) -> Result<bool, Flow> {
        for pattern in patterns {
            if self.expand_pattern(pattern)?.matches(text) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `[[ … ]]`
    fn holds(&mut self, condition: &Condition) -> Result<bool, Flow> {
        match condition {
            Condition::Not(inner) => Ok(!self.holds(inner)?),
            Condition::And(left, right) => Ok(self.holds(left)? && self.holds(right)?),
            Condition::Or(left, right) => Ok(self.holds(left)? || self.holds(right)?),
            Condition::Word(word) => Ok(!self.expand_to_text(word)?.is_empty()),
            Condition::Unary(operator, word) => {
                let operand = self.expand_to_text(word)?;
                self.test_words(vec![operator.clone().into_bytes(), operand])
            }
            Condition::Binary(left, operator, right) => {
                let left = self.expand_to_text(left)?;
                match operator.as_str() {
                    "=" | "==" => Ok(self.expand_pattern(right)?.matches(&left)),
                    "!=" => Ok(!self.expand_pattern(right)?.matches(&left)),
                    "<" => Ok(left < self.expand_to_text(right)?),
                    ">" => Ok(left > self.expand_to_text(right)?),
                    _ => {
                        let right = self.expand_to_text(right)?;
                        self.test_words(vec![left, operator.clone().into_bytes(), right])
                    }
                }
            }
        }
    }

    fn test_words(&mut self, words: Vec<Vec<u8>>) -> Result<bool, Flow> {
        crate::builtins::condition(self, &words).map_err(|message| self.fatal(message))
    }

    /// Sets the positional parameters.
    pub(crate) fn set_parameters(&mut self, parameters: Vec<Vec<u8>>) {
        self.state.positional = Rc::new(parameters);
    }
}
