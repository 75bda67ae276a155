//! The manual page: one for the whole program, every command with its flags.

use std::io;

use clap::Command;
use clap_mangen::Man;

/// The page as roff.
///
/// # Errors
/// Never happens: it is written into memory.
pub(super) fn page(mut program: Command) -> io::Result<Vec<u8>> {
    program.build();
    let man = Man::new(program.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH COMMANDS\n");
    for command in program.get_subcommands() {
        describe(command, &mut page);
    }
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// A command, or those below it.
fn describe(command: &Command, page: &mut Vec<u8>) {
    if command.get_name() == "help" {
        return;
    }
    if command.has_subcommands() {
        return command.get_subcommands().for_each(|below| describe(below, page));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.extend_from_slice(format!(".TP\n\\fB{}\\fR\n{}\n", roff(usage), roff(&about)).as_bytes());
    let flags = command.get_arguments().filter(|argument| argument.get_long().is_some() && !argument.is_global_set());
    for (name, help) in flags.filter_map(|argument| Some((argument.get_long()?, argument.get_help()?.to_string()))) {
        if name != "help" {
            page.extend_from_slice(
                format!(".br\n\\fB{}\\fR  {}\n", roff(&format!("--{name}")), roff(&help)).as_bytes(),
            );
        }
    }
}

/// Text that roff prints as it stands.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\n', " ");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_is_in_the_manual() {
        let page = String::from_utf8(page(crate::cli::Cli::command()).unwrap()).unwrap();
        for words in [
            "moorgate up",
            "moorgate account set",
            "moorgate credential rotate",
            "moorgate policy set",
            "moorgate agent",
            "moorgate tier set",
            "moorgate usage",
            "moorgate audit verify",
            "moorgate gateway show",
        ] {
            assert!(page.contains(&format!("\\fB{words}")), "{words}: {page}");
        }
    }
}
