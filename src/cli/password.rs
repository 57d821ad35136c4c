//! Passwords from a person or a pipe. Never from an argument, which everybody on the machine sees.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// What is read of a line at most; longer passwords are refused elsewhere.
const MAX_LINE_BYTES: u64 = 4096;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("no password was given")]
    Empty,
    #[error("the two passwords differ")]
    Different,
    #[error("the password can't be read: {0}")]
    Io(#[from] io::Error),
}

/// Asks twice without showing what is typed; reads one line when standard input is no terminal.
pub fn read() -> Result<String, PasswordError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return one_line(&mut stdin.lock());
    }
    let mut prompt = io::stderr();
    let silence = Silence::begin(&stdin)?;
    let first = ask("Password: ", &mut prompt, &mut stdin.lock())?;
    let second = ask("Once more: ", &mut prompt, &mut stdin.lock())?;
    drop(silence);
    if first == second {
        Ok(first)
    } else {
        Err(PasswordError::Different)
    }
}

fn ask(
    question: &str,
    prompt: &mut impl Write,
    input: &mut impl BufRead,
) -> Result<String, PasswordError> {
    write!(prompt, "{question}")?;
    prompt.flush()?;
    let answer = one_line(input);
    // The line's end was not shown either.
    writeln!(prompt)?;
    answer
}

fn one_line(input: &mut impl BufRead) -> Result<String, PasswordError> {
    let mut line = String::new();
    input.take(MAX_LINE_BYTES).read_line(&mut line)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        Err(PasswordError::Empty)
    } else {
        Ok(password.to_owned())
    }
}

/// A terminal that does not show what is typed, until dropped.
struct Silence<'a> {
    terminal: &'a io::Stdin,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn begin(terminal: &'a io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // What was typed ahead, and shown, is no password.
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_password_with_its_spaces_and_without_its_end() {
        for (piped, password) in [
            ("hush hush \n", "hush hush "),
            ("hush\r\nmore", "hush"),
            ("hush", "hush"),
        ] {
            assert_eq!(one_line(&mut piped.as_bytes()).unwrap(), password);
        }
        for nothing in ["", "\n"] {
            assert!(matches!(
                one_line(&mut nothing.as_bytes()),
                Err(PasswordError::Empty)
            ));
        }
    }

    #[test]
    fn an_endless_line_is_not_read_to_its_end() {
        let password = one_line(&mut io::BufReader::new(io::repeat(b'x'))).unwrap();
        assert_eq!(password.len(), 4096);
    }
}
