//! `person`: who may use the console.

use moorgate_api::view::{self, AddInvitation};

use super::{CommandError, gateway::Gateway};
use crate::{
    cli::Person,
    output::{self, Table, answer, shown, when},
};

pub(super) async fn run(gateway: &Gateway, command: Person) -> Result<(), CommandError> {
    let client = &gateway.client;
    match command {
        Person::Invite { email, account, role, json } => {
            let add = AddInvitation { email, account, role: role.map(Into::into) };
            let made = client.invite(&add).await?;
            // Alone on its line, so that a script needs no --json.
            answer(json, &made, || format!("{}/welcome/{}\n", gateway.console(), made.token))?;
            if !json.json {
                output::note(format_args!("it works once, until {}", when(made.until)));
            }
            Ok(())
        }
        Person::List(json) => {
            let people = client.people().await?;
            answer(json, &people, || list(&people))
        }
        Person::Remove { email } => {
            client.remove_person(&email).await?;
            output::print(&format!("{} removed, and signed out everywhere\n", shown(&email)))
        }
    }
}

fn list(people: &[view::Person]) -> String {
    if people.is_empty() {
        return "nobody uses the console yet; a link for an operator: moorgate person invite\n".into();
    }
    let mut table = Table::new(["EMAIL", "MAY", "SINCE"]);
    for person in people {
        let roles = person.roles.iter().map(|(account, role)| format!("{role:?} of {account}").to_lowercase());
        let may = if person.operator { "everything".to_owned() } else { roles.collect::<Vec<_>>().join(", ") };
        table.row([person.email.clone(), may, when(person.created)]);
    }
    table.to_string()
}
