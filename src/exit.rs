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
    /// Interrupted: by SIGINT, SIGTERM or SIGHUP, by ctrl-c on the screen, or by a terminal that is gone. One code for all of
    /// them, in every subcommand: a script asks whether there is an answer, not who did not want it any more.
    Interrupted,
}

impl Exit {
    /// The code, as `--help` lists them.
    pub fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::BadAnswer => 1,
            Exit::WrongInput => 2,
            Exit::Interrupted => 130,
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
        let all = [Exit::Fine, Exit::BadAnswer, Exit::WrongInput, Exit::Interrupted];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 130]);
    }
}
