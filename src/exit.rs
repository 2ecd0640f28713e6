//! How the program ends: the exit codes for scripts.

use std::process::ExitCode;

/// The meaning of an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// The answer is bad: something drifts, is broken or failed.
    BadAnswer,
    /// The call or the input is wrong.
    WrongInput,
    /// The user interrupted it.
    Interrupted,
    /// A signal of this number ended it.
    Signal(u8),
}

impl Exit {
    /// The code, as shells use it.
    pub fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::BadAnswer => 1,
            Exit::WrongInput => 2,
            Exit::Interrupted => Exit::Signal(2).code(),
            Exit::Signal(number) => 128u8.saturating_add(number),
        }
    }

    /// Fine, or a bad answer.
    pub fn of(good: bool) -> Exit {
        if good { Exit::Fine } else { Exit::BadAnswer }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_are_those_of_the_help() {
        let all = [Exit::Fine, Exit::BadAnswer, Exit::WrongInput, Exit::Interrupted, Exit::Signal(1), Exit::Signal(15)];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 130, 129, 143]);
    }
}
