//! `person`: who may use the console.

use moorgate_api::{
    view::{self, AddInvitation, NewInvitation},
    words,
};

use super::{CommandError, gateway::Gateway};
use crate::{
    cli::{Json, Person},
    output::{self, Table, answer, shown, when},
};

pub(super) async fn run(gateway: &Gateway, command: Person) -> Result<(), CommandError> {
    let client = &gateway.client;
    match command {
        Person::Invite { email, account, role, json } => {
            let add = AddInvitation { email, account, role: role.map(Into::into) };
            link(gateway, json, &client.invite(&add).await?)
        }
        Person::Reset { email, json } => link(gateway, json, &client.reset_person(&email).await?),
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

/// Alone on its line, so that a script needs no --json.
fn link(gateway: &Gateway, json: Json, made: &NewInvitation) -> Result<(), CommandError> {
    answer(json, made, || format!("{}/welcome/{}\n", gateway.console(), made.token))?;
    if !json.json {
        output::note(format_args!("it works once, until {}", when(made.until)));
    }
    Ok(())
}

fn list(people: &[view::Person]) -> String {
    if people.is_empty() {
        return "nobody uses the console yet; a link for an operator: moorgate person invite\n".into();
    }
    let mut table = Table::new(["EMAIL", "MAY", "COMES IN BY", "SINCE"]);
    for person in people {
        let roles = person.roles.iter().map(|(account, role)| format!("{} of {account}", role.name()));
        let may = if person.operator { "everything".to_owned() } else { roles.collect::<Vec<_>>().join(", ") };
        let by = words::way_in(person.issuer.as_deref(), person.app, person.passkeys);
        table.row([person.email.clone(), may, by, when(person.created)]);
    }
    table.to_string()
}
