//! What can be written behind `faktor`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::domain::ids::OrganizationId;

/// An invoice platform in one binary.
#[derive(Debug, Parser)]
#[command(name = "faktor", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Reads the configuration from this file instead of ./config.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// `serve` when there is none.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `faktor` does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Runs the node until Ctrl-C (the default)
    Serve,
    /// Shows a real invoice on its way from a draft to paid
    Demo {
        /// Ends when the invoice is paid, instead of leaving the node running
        #[arg(long)]
        exit: bool,
    },
    /// Asks a node whether it takes requests; ends with 1 when it does not
    Health {
        /// The node's web address; by default where the configuration says that it listens
        #[arg(value_name = "URL")]
        url: Option<String>,
    },
    /// Turns an invoice in JSON into a document, without a server
    Render(Render),
    /// Manages users; over SQLite while the node is stopped
    #[command(subcommand)]
    User(User),
    /// Looks after a cluster of nodes
    #[command(subcommand)]
    Cluster(Cluster),
    /// Looks at the configuration
    #[command(subcommand)]
    Config(Config),
    /// Prints the OpenAPI document
    Openapi,
    /// Prints the version
    Version,
}

/// `faktor render`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Render {
    /// The invoice, as POST /v1/invoices takes it; - reads standard input
    pub file: PathBuf,
    /// Where the document goes; - writes to standard output
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// What to make; by default what OUT's extension says, or pdf
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The paper of a PDF, instead of the invoice's
    #[arg(long, value_enum)]
    pub page_size: Option<PageSize>,
    /// The language of labels, dates and numbers, instead of the invoice's, such as de or pt
    #[arg(long, value_name = "LANGUAGE")]
    pub locale: Option<String>,
}

/// The formats of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Pdf,
    Xlsx,
    Csv,
    Json,
}

/// The papers of a PDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PageSize {
    A4,
    Letter,
}

/// `faktor user`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum User {
    /// Adds a user; the password is asked for, or read from standard input when that is no terminal
    Add(UserAdd),
    /// Gives a user a new password, which is read as `add` does, and ends its sessions
    Passwd {
        /// The user's e-mail address
        email: String,
    },
}

/// `faktor user add`. The password is never an argument: arguments can be seen by everybody.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UserAdd {
    /// The user's e-mail address
    pub email: String,
    #[arg(long)]
    pub first_name: String,
    #[arg(long)]
    pub last_name: String,
    /// A role, such as administrator or accountant; can be given several times
    #[arg(
        long = "role",
        value_name = "ROLE",
        default_value = "administrator",
        conflicts_with = "new_organization"
    )]
    pub roles: Vec<String>,
    #[command(flatten)]
    pub organization: UserOrganization,
}

/// Where a user belongs: exactly one of them is given.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct UserOrganization {
    /// The organization's id (org_…)
    #[arg(long = "organization", value_name = "ID")]
    pub id: Option<OrganizationId>,
    /// Founds an organization of this name; the user becomes its administrator
    #[arg(long, value_name = "NAME")]
    pub new_organization: Option<String>,
}

/// `faktor cluster`. Needs the nodes' own `storage` settings.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Cluster {
    /// Shows the nodes, what each owns, and how much of its lease is left
    Status,
    /// Lets a node give away what it owns, such as before it is stopped for long
    Drain {
        /// The node's name
        node: String,
        /// Lets it take part again
        #[arg(long)]
        back: bool,
    },
}

/// `faktor config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Config {
    /// Reports every problem of the configuration
    Check,
    /// Prints the configuration in effect, and where it came from; secrets are ***
    Print,
}

impl Cli {
    /// The command, `serve` when none was written.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    fn command(line: &str) -> Command {
        parse(line).unwrap().into_command()
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_node_is_served() {
        assert_eq!(command("faktor"), Command::Serve);
        let cli = parse("faktor serve --config mine.toml").unwrap();
        assert_eq!(cli.config, Some(PathBuf::from("mine.toml")));
        assert_eq!(command("faktor demo --exit"), Command::Demo { exit: true });
    }

    #[test]
    fn rendering_needs_to_know_where_to() {
        let Command::Render(render) =
            command("faktor render in.json -o out.pdf --page-size letter --locale de")
        else {
            panic!("not a render");
        };
        assert_eq!(render.output, PathBuf::from("out.pdf"));
        assert_eq!(
            (render.format, render.page_size),
            (None, Some(PageSize::Letter))
        );
        assert!(parse("faktor render in.json").is_err());
        assert!(parse("faktor render in.json -o x --format docx").is_err());
    }

    #[test]
    fn a_user_belongs_to_one_organization_and_a_founder_is_its_administrator() {
        let person = "faktor user add ada@x.example --first-name Ada --last-name Lovelace";
        let Command::User(User::Add(add)) = command(&format!("{person} --new-organization Ada"))
        else {
            panic!("not an add");
        };
        assert_eq!(add.roles, ["administrator"]);
        assert_eq!(add.organization.new_organization.as_deref(), Some("Ada"));
        let id = "org_00000000000000000000000000000001";
        let line = format!("{person} --organization {id} --role accountant --role seller");
        let Command::User(User::Add(add)) = command(&line) else {
            panic!("not an add")
        };
        assert_eq!(add.roles, ["accountant", "seller"]);
        assert_eq!(
            add.organization.id.map(|id| id.to_string()).as_deref(),
            Some(id)
        );
        for wrong in [
            person.to_owned(),
            format!("{person} --organization ada"),
            format!("{person} --organization {id} --new-organization Ada"),
            format!("{person} --new-organization Ada --role accountant"),
            format!("{person} --new-organization Ada --password secret"),
        ] {
            assert!(parse(&wrong).is_err(), "{wrong}");
        }
    }
}
